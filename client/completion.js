import { pause } from "./abort.js";
import { UploadError } from "./errors.js";

/**
 * Asks the broker to complete an upload until the outcome is final or the patience is over.
 *
 * Asking again is always safe: the broker answers a finished upload for ever with the same asset.
 *
 * @param {import("./broker.js").Call} call
 * @param {string} id
 * @param {number} patience Seconds.
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<import("./index.js").RegisteredUpload>}
 */
export async function complete(call, id, patience, signal) {
  const giveUpAt = Date.now() + patience * 1000;
  for (let growing = 1; ; growing = Math.min(growing * 2, 15)) {
    const answer = await call("POST", `/uploads/${id}/complete`, { signal }).catch(
      (/** @type {UploadError} */ error) => error,
    );
    if (!(answer instanceof UploadError) && answer.status === 200) return answer.body;
    const error =
      answer instanceof UploadError
        ? answer
        : new UploadError(
            "The file has arrived, and the broker goes on registering it. Look for it later.",
            { code: "still_registering", status: answer.status, retryable: true },
          );
    const wait = answer.retryAfter ?? growing;
    if (!error.retryable || Date.now() + wait * 1000 > giveUpAt) throw error;
    await pause(wait, signal);
  }
}
