import { within } from "./abort.js";

/**
 * Lets a number of files be sent at once; the others wait, and are woken in the order in which they came.
 *
 * @param {number} limit
 */
export function createTurns(limit) {
  /** @type {Set<Promise<unknown>>} Each settles when its turn is over. */
  const taken = new Set();
  /**
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<() => void>} Ends the turn.
   */
  return async (signal) => {
    while (taken.size >= limit) await within(1e6, signal, Promise.race(taken));
    /** @type {any} */
    let leave;
    const turn = new Promise((resolve) => {
      leave = () => resolve(taken.delete(turn));
    });
    taken.add(turn);
    return leave;
  };
}
