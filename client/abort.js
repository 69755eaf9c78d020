/**
 * Settles like the promise; resolves earlier, to an empty list, when the time is over or the browser finds
 * the network again; rejects at once when the signal aborts, whether the promise's work knows signals or not.
 *
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @param {Promise<any>} [promise]
 * @returns {Promise<any>}
 */
export const within = (seconds, signal, promise) => {
  // One signal may serve many uploads, so that listeners left behind would pile up on it.
  const end = new AbortController();
  /** @type {any} */
  let timer;
  const early = new Promise((/** @type {any} */ resolve) => {
    signal?.addEventListener("abort", resolve, end);
    // Node has no such event.
    globalThis.addEventListener?.("online", resolve, end);
    timer = setTimeout(resolve, seconds * 1000);
    if (signal?.aborted) resolve();
  });
  return Promise.race([early.then(() => []), promise ?? early]).finally(() => {
    clearTimeout(timer);
    end.abort();
    signal?.throwIfAborted();
  });
};

/**
 * What the tabs of this browser hold, as text that names each lock; nothing where locks can't be had: in
 * Node, without https, in a sandboxed frame, or where the browser blocks all cookies.
 */
export const knownLocks = async () => {
  try {
    return JSON.stringify(await navigator.locks.query());
  } catch {
    return "";
  }
};
