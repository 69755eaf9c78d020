import { within } from "./abort.js";
import { isOffline } from "./network.js";
import { whileRetrying } from "./words.js";

const LONGEST_PAUSE = 30; // seconds, if nobody asked for a longer one

/**
 * @typedef {<T>(
 *   work: (ticket: string | undefined, tries: number) => Promise<T>,
 *   report?: import("./upload.js").Report, phase?: import("./index.js").Phase, loaded?: number
 * ) => Promise<T>} Retry
 */

/**
 * Tries until it works, or fails for good, or the pauses add up to more than the patience.
 *
 * The pauses have full jitter, so that browsers which failed together do not come back together. Time
 * in the line or offline does not count: the line ends, and offline nobody can do anything.
 *
 * @param {number} patience Seconds.
 * @param {AbortSignal | undefined} signal
 * @returns {Retry} Its work gets the line's ticket, and how often it failed; what is reported is the pause.
 */
export const retrying =
  (patience, signal) =>
  async (work, report, phase = "waiting", loaded = 0) => {
    let waited = 0;
    let ticket;
    for (let tries = 0; ; tries++) {
      try {
        return await work(ticket, tries);
      } catch (/** @type {any} */ error) {
        if (!error?.retryable || signal?.aborted) throw error;
        const jitter = Math.random() * Math.min(LONGEST_PAUSE, 2 ** tries);
        const wait = isOffline() ? LONGEST_PAUSE : Math.max(error.retryAfter || 0, jitter);
        if (error.ticket) {
          ticket = error.ticket;
          tries = -1;
        } else if (!isOffline()) {
          waited += wait;
        }
        if (waited > patience) throw error;
        error.message = whileRetrying(error.message);
        report?.(phase, loaded, { error, wait });
        await within(wait, signal);
      }
    }
  };
