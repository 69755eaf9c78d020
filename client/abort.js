/**
 * Settles like the promise; resolves earlier, to undefined when the time is over, to null when the browser finds the
 * network again; rejects at once when the signal aborts, whether the promise's work knows signals or not.
 *
 * @template T
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @param {Promise<T>} [promise]
 * @returns {Promise<T | null | undefined>}
 */
export const within = (seconds, signal, promise) => {
  // One signal may serve many uploads, so that listeners left behind would pile up on it.
  const end = new AbortController();
  /** @type {any} */
  let timer;
  const early = new Promise((/** @type {(nothing?: null) => void} */ resolve) => {
    const wake = () => resolve();
    signal?.addEventListener("abort", wake, end);
    // Node has no such event.
    globalThis.addEventListener?.("online", () => resolve(null), end);
    timer = setTimeout(wake, seconds * 1000);
    if (signal?.aborted) wake();
  });
  return Promise.race([early, promise ?? early]).finally(() => {
    clearTimeout(timer);
    end.abort();
    signal?.throwIfAborted();
  });
};
