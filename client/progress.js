/** @typedef {(phase: import("./index.js").Phase, loaded: number) => void} Report */

/**
 * Sent is not finished: 100 per cent are reached when the asset is recorded.
 *
 * @param {((progress: import("./index.js").Progress) => void) | undefined} onProgress
 * @param {number} total Bytes.
 * @returns {Report}
 */
export const progressTo = (onProgress, total) => (phase, loaded) =>
  onProgress?.({
    loaded,
    total,
    percentage: phase === "done" ? 100 : Math.min(99, Math.floor((100 * loaded) / (total || 1))),
    phase,
  });
