import { within } from "./abort.js";

/**
 * @typedef {<T>(
 *   work: (ticket: string | undefined, tries: number) => Promise<T>,
 *   report?: import("./uploader.js").Report, phase?: import("./index.js").Phase, loaded?: number
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
    for (let tries = 0, waited = 0, ticket; ; tries++) {
      try {
        return await work(ticket, tries);
      } catch (/** @type {any} */ error) {
        if (!error?.retryable || signal?.aborted) throw error;
        // Half a minute is the longest pause that nobody asked for.
        const isOffline = globalThis.navigator?.onLine === false;
        const wait = isOffline
          ? 30
          : Math.max(error.retryAfter || 0, Math.random() * Math.min(30, 2 ** tries));
        if (error.ticket) {
          ticket = error.ticket;
          tries = -1;
        } else if (!isOffline) waited += wait;
        if (waited > patience) throw error;
        report?.(phase, loaded, { error, wait });
        await within(wait, signal);
      }
    }
  };
