/** Node 20 has none, and a page without https has no locks. */
export const navigator = /** @type {Partial<Navigator>} */ (globalThis.navigator ?? {});

/**
 * Settles like the promise; resolves earlier when the time is over or the browser finds the network
 * again; rejects at once when the signal aborts, whether the promise's work knows signals or not.
 *
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 * @param {Promise<any>} [promise]
 * @returns {Promise<any>}
 */
export const within = (seconds, signal, promise) => {
  // One signal may serve many uploads, so that listeners left behind would pile up on it.
  const end = new AbortController();
  const early = new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    end.signal.onabort = () => clearTimeout(timer);
    signal?.addEventListener("abort", resolve, end);
    // Node has no such event.
    globalThis.addEventListener?.("online", resolve, end);
    if (signal?.aborted) resolve(0);
  });
  return Promise.race([early, promise ?? early]).finally(() => {
    end.abort();
    signal?.throwIfAborted();
  });
};
