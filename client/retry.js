import { UploadError } from "./errors.js";
import { messageWhileRetrying } from "./messages.js";
import { isOffline } from "./network.js";
import { pause } from "./timing.js";

const LONGEST_PAUSE = 30; // seconds, unless the server asks for a longer one

/**
 * @typedef {object} Pause
 * @property {UploadError} error
 * @property {number} wait Seconds.
 *
 * @typedef {object} RetryOptions
 * @property {number} patience Seconds of pauses after which the work is given up.
 * @property {AbortSignal | undefined} signal
 * @property {((pause: Pause) => void) | undefined} [onPause]
 */

/**
 * Return how many seconds to wait before the next try.
 *
 * The client's own pauses have full jitter, so that browsers which failed together do not retry together.
 *
 * @param {UploadError} error
 * @param {number} failures How often the work had failed before.
 */
function pauseAfter({ retryAfter = 0 }, failures) {
  // The browser reports when it is online again, which ends the pause.
  if (isOffline()) return LONGEST_PAUSE;
  const backoff = Math.min(LONGEST_PAUSE, 2 ** failures);
  return Math.max(retryAfter, Math.random() * backoff);
}

/**
 * Repeat the work until it succeeds, fails for good, or has paused for longer than the patience.
 *
 * Two pauses do not count: the one for a ticket, since the broker has reserved a moment for this request, and the one
 * while the browser is offline, since no request can be sent.
 *
 * @template T
 * @param {(ticket: string | undefined, failures: number) => Promise<T>} work It gets the last ticket of the broker.
 * @param {RetryOptions} options
 * @returns {Promise<T>}
 */
export async function retry(work, { patience, signal, onPause }) {
  let waited = 0;
  let failures = 0;
  /** @type {string | undefined} */
  let ticket;
  for (;;) {
    try {
      return await work(ticket, failures);
    } catch (error) {
      if (!(error instanceof UploadError) || !error.retryable || signal?.aborted) throw error;
      const wait = pauseAfter(error, failures);
      if (!error.ticket && !isOffline()) waited += wait;
      if (waited > patience) throw error;
      failures = error.ticket ? 0 : failures + 1;
      ticket = error.ticket ?? ticket;
      error.message = messageWhileRetrying(error.message);
      onPause?.({ error, wait });
      await pause(wait, signal);
    }
  }
}
