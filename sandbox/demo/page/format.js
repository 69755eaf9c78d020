const UNITS = ["bytes", "KB", "MB", "GB", "TB"];

/** 1536 is "1.5 KB". */
export function formatBytes(bytes) {
  if (bytes === 1) return "1 byte";
  const power = Math.min(Math.floor(Math.log2(bytes || 1) / 10), UNITS.length - 1);
  const value = bytes / 1024 ** power;
  return `${value.toFixed(value < 100 && power ? 1 : 0).replace(/\.0$/, "")} ${UNITS[power]}`;
}

/** 75 is "1 min 15 s". */
export function formatSeconds(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** "2026-05-04T09:02:07Z" is "4 May 2026, 09:02:07", on the reader's own clock. */
export const formatMoment = (time) => MOMENT.format(new Date(time));

/** 75 is "1:15", as players show it. */
export function formatLength(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const tail = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}
