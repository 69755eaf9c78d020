import { formatSeconds } from "./format.js";

/**
 * Why an upload pauses, and for how long: what its row says.
 *
 * @param pause The `error` that it waits for, and `until`, a time of `performance.now()`.
 * @param now The same clock.
 * @param isOnline What the browser says.
 * @returns The state in a word or two, and a sentence.
 */
export function describePause({ error, until }, now, isOnline) {
  const wait = formatSeconds(Math.max(0, until - now) / 1000);
  if (error.name === "LineError") {
    const place = error.position ? `Place ${error.position} in the line. ` : "";
    return { state: "In line", text: `${place}Its turn comes in ${wait}.` };
  }
  if (!isOnline) return { state: "Offline", text: "It goes on when the network is back." };
  return { state: "Trying again", text: `${sentence(error.message)} Next try in ${wait}.` };
}

const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);
