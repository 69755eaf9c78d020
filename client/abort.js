/**
 * Settles like the promise, or rejects as soon as the signal aborts: for work that knows no signals.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T>}
 */
export const unlessAborted = (promise, signal) =>
  new Promise((resolve, reject) => {
    const abort = () => reject(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    // One signal may serve many uploads, so that listeners left behind would pile up on it.
    promise.finally(() => signal?.removeEventListener("abort", abort)).then(resolve, reject);
  });

/**
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 */
export const pause = (seconds, signal) =>
  unlessAborted(new Promise((resolve) => setTimeout(resolve, seconds * 1000)), signal);
