import { RefusedError } from "./errors.js";
import { isOffline } from "./network.js";
import { BACK_ONLINE, pause, TIMED_OUT, withTimeout } from "./timing.js";

const EDGE = 1024; // bytes
const READ_TIMEOUT = 60; // seconds, since the file may be on a network drive
const CHECK_INTERVAL = 3; // seconds

/**
 * Return the file's first and last bytes as text; throw if they can't be read.
 *
 * Chromium and WebKit refuse to read a file that has changed since it was chosen. Firefox reads the file as it is now,
 * up to its old size.
 *
 * @param {Blob} file
 */
async function readEdges(file) {
  const edges = new Blob([file.slice(0, EDGE), file.slice(-EDGE)]);
  const bytes = new Uint8Array(await edges.arrayBuffer());
  if (bytes.length !== edges.size) throw new Error("The file is shorter than it was.");
  return bytes.join();
}

/**
 * Return a function that throws a RefusedError if the file can't be read, or differs from the file of the first call.
 *
 * Otherwise a mixture of old and new bytes could become an asset, and a file that was deleted would look like a lost
 * connection.
 *
 * @param {Blob} file
 * @param {string} fileName
 * @param {AbortSignal | undefined} signal
 */
export function createIntegrityCheck(file, fileName, signal) {
  /** @type {string | undefined} */
  let firstEdges;

  return async function check() {
    try {
      const edges = await withTimeout(readEdges(file), READ_TIMEOUT, signal);
      // A slow read proves nothing.
      if (edges === TIMED_OUT || edges === BACK_ONLINE) return;
      firstEdges ??= edges;
      if (edges !== firstEdges) throw new Error("The file's bytes have changed.");
    } catch (cause) {
      // A network drive is back when the network is.
      if (isOffline() && !signal?.aborted) return;
      throw new RefusedError(
        `"${fileName}" could not be read. It may have been changed, moved or deleted. Choose it again.`,
        { code: "file_unreadable", cause },
      );
    }
  };
}

/**
 * Run the check every few seconds. Reject when it has failed twice in a row, since another program may lock the file
 * for a moment, and when the signal aborts.
 *
 * @param {() => Promise<void>} check
 * @param {AbortSignal} signal
 * @returns {Promise<never>}
 */
export async function checkRepeatedly(check, signal) {
  for (;;) {
    await pause(CHECK_INTERVAL, signal);
    await check().catch(() => pause(CHECK_INTERVAL, signal).then(check));
  }
}
