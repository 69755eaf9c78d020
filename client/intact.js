import { within } from "./abort.js";
import { RefusedError } from "./errors.js";
import { isOffline } from "./network.js";

const EDGE = 1024; // bytes
const READ_WITHIN = 60; // seconds: a file may have to come from a network drive

/**
 * Returns the first and the last bytes as text, or NaN, which equals nothing, if some of them are gone. Chromium and
 * WebKit refuse to read a file that has changed since it was chosen; Firefox reads what the file is now.
 *
 * @param {Blob} file
 */
async function readEdges(file) {
  const edges = new Blob([file.slice(0, EDGE), file.slice(-EDGE)]);
  const bytes = new Uint8Array(await edges.arrayBuffer());
  return bytes.length === edges.size ? bytes.join() : Number.NaN;
}

/**
 * Returns a function that throws when the file is not what it was at the first call. What is sent from a file that
 * changes meanwhile is a mixture of old and new bytes, and a file that went away fails as a lost connection does.
 *
 * @param {Blob} file
 * @param {string} fileName
 * @param {AbortSignal | undefined} signal
 */
export function createIntactCheck(file, fileName, signal) {
  /** @type {string | number | null | undefined} */
  let known;
  return async () => {
    try {
      const edges = await within(READ_WITHIN, signal, readEdges(file));
      known ??= edges;
      // A read that takes too long says nothing.
      if ((edges ?? known) !== known) throw new Error("Its bytes differ.");
    } catch (cause) {
      // A file on a network drive is back when the network is.
      if (isOffline() && !signal?.aborted) return;
      throw new RefusedError(
        `"${fileName}" could not be read. It may have been changed, moved or deleted. Choose it again.`,
        { code: "file_unreadable", cause },
      );
    }
  };
}
