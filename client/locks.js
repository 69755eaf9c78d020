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

/**
 * Does the work under a lock, by which other tabs see that this upload is being worked on.
 *
 * @template T
 * @param {string} id
 * @param {AbortSignal | undefined} signal
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export const locked = async (id, signal, work) =>
  (await knownLocks())
    ? navigator.locks.request(id, /** @type {any} */ ({ signal }), work)
    : work();
