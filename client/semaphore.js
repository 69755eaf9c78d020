import { withTimeout } from "./timing.js";

const DAY = 86_400; // seconds, after which it only looks again

/**
 * Return a function that waits until fewer uploads run than the limit allows, in the order of the calls. It resolves to
 * a function that lets the next upload run.
 *
 * @param {number} limit
 */
export function createSemaphore(limit) {
  /** @type {Set<Promise<void>>} One promise for each running upload; it resolves when the upload releases. */
  const running = new Set();

  /** @param {AbortSignal | undefined} signal */
  return async function acquire(signal) {
    while (running.size >= limit) await withTimeout(Promise.race(running), DAY, signal);
    let resolve = () => {};
    /** @type {Promise<void>} */
    const released = new Promise((settle) => {
      resolve = settle;
    });
    running.add(released);
    return function release() {
      running.delete(released);
      resolve();
    };
  };
}
