export const TIMED_OUT = Symbol("timed out");
export const BACK_ONLINE = Symbol("back online");

/**
 * Settle as the promise does, or earlier.
 *
 * Resolve to TIMED_OUT when the time is over, or to BACK_ONLINE when the browser has found the network again, since a
 * request that was sent before may never end. Reject as soon as the signal aborts, even if the work ignores it.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T | typeof TIMED_OUT | typeof BACK_ONLINE>}
 */
export async function withTimeout(promise, seconds, signal) {
  // One signal may serve many uploads, so that listeners left behind would pile up on it.
  const cleanup = new AbortController();
  const until = { signal: cleanup.signal };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {Promise<typeof TIMED_OUT | typeof BACK_ONLINE>} */
  const early = new Promise((resolve, reject) => {
    timer = setTimeout(() => resolve(TIMED_OUT), seconds * 1000);
    // Node has no such event.
    globalThis.addEventListener?.("online", () => resolve(BACK_ONLINE), until);
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort, until);
    if (signal?.aborted) abort();
  });
  try {
    const result = await Promise.race([early, promise]);
    // The promise may settle because of the abort.
    signal?.throwIfAborted();
    return result;
  } finally {
    clearTimeout(timer);
    cleanup.abort();
  }
}

/**
 * Wait for so many seconds, or until the browser has found the network again.
 *
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 */
export const pause = (seconds, signal) => withTimeout(new Promise(() => {}), seconds, signal);
