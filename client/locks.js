// The tabs of one browser see each other's uploads by the Web Locks API: the name of a lock is the upload's id.

/**
 * Return the ids of the uploads that tabs of this browser work on, or undefined if there are no locks: in Node, without
 * https, in a sandboxed frame, and if the browser blocks all cookies.
 */
export async function queryLocks() {
  try {
    const { held = [], pending = [] } = await navigator.locks.query();
    return new Set([...held, ...pending].map(({ name }) => name));
  } catch {
    return undefined;
  }
}

/**
 * Do the work while this tab holds the upload's lock.
 *
 * @template T
 * @param {string} id
 * @param {AbortSignal | undefined} signal
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(id, signal, work) {
  if (!(await queryLocks())) return work();
  return navigator.locks.request(id, signal ? { signal } : {}, work);
}
