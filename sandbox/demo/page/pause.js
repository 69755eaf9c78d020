import { endSentence, formatSeconds } from "./format.js";

/**
 * Return the text that an upload's row shows during a pause.
 *
 * @param pause The `error`, the upload's `phase`, and `until`, a time of `performance.now()`.
 * @param now The time of the same clock.
 * @param isOnline Whether the browser reports that it is online.
 * @returns The state in a word or two, and a sentence.
 */
export function describePause({ error, phase, until }, now, isOnline) {
  const wait = formatSeconds(Math.max(0, until - now) / 1000);
  // In the phase "finishing" the rate limiter postpones only the registration.
  if (error.name === "RateLimitError" && phase === "waiting") {
    const position = error.position ? `Number ${error.position} in the queue. ` : "";
    return { state: "In the queue", text: `${position}The upload starts in ${wait}.` };
  }
  if (!isOnline) {
    return { state: "Offline", text: "The upload resumes when the connection is back." };
  }
  return { state: "Trying again", text: `${reasonOf(error.message)} Next try in ${wait}.` };
}

/** Return the message without the advice to try again, since the page does that itself and shows when. */
const reasonOf = (message) => endSentence(message.replace(/ (Try|Trying) again\b[^.]*\.?$/, ""));
