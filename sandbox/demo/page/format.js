const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** Return a size in decimal units, as file managers use them: 1536 is "1.5 kB". */
export function formatBytes(bytes) {
  if (bytes === 1) return "1 byte";
  let value = bytes;
  let power = 0;
  // A value that would be rounded to 1000 becomes 1 of the next unit.
  for (; value >= (power ? 999.95 : 999.5) && power < UNITS.length - 1; power += 1) value /= 1000;
  return `${value.toFixed(power ? 1 : 0).replace(/\.0$/, "")} ${UNITS[power]}`;
}

/** Return a time in words: 75 is "1 min 15 s". */
export function formatSeconds(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** Return a moment in the user's time zone: "2026-05-04T09:02:07Z" is "4 May 2026, 09:02:07" in UTC. */
export const formatMoment = (time) => MOMENT.format(new Date(time));

/** Return a duration as players show it: 75 is "1:15". */
export function formatLength(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const tail = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** Return a text that ends with a full stop, unless it ends with another end mark: "Gone" is "Gone.". */
export const endSentence = (text) => (/[.!?…]$/.test(text) ? text : `${text}.`);
