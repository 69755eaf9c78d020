/**
 * The errors of the client, one class for each thing that a page can do about it:
 *
 *     UploadError          the broker has a problem, or no class below describes the error
 *     ├── AbortError       the page's own signal ended the call
 *     ├── RefusedError     the same request will be refused again
 *     ├── ExpiredError     the upload has expired or was cancelled; a new one may be begun
 *     ├── NetworkError     no response came, or one that neither the broker nor the storage can have sent
 *     └── RateLimitError   the broker has too many requests at the moment
 */
export class UploadError extends Error {
  // A class that was minified has lost its own name, so each class has its name as text.
  name = "UploadError";
  code = "";
  retryable = false;
  /** @type {{ pointer: string, detail: string }[]} */
  errors = [];
  /** @type {number | undefined} */
  status;
  /** @type {number | undefined} Seconds. */
  retryAfter;
  /** @type {string | undefined} The rate limiter's reservation, which the next request sends as `Upload-Ticket`. */
  ticket;
  /** @type {import("./index.js").Upload | undefined} The upload that can be resumed. */
  upload;

  /**
   * @param {string} message
   * @param {{ code: string } & Record<string, unknown>} fields The fields above, and those that a server adds.
   */
  constructor(message, fields) {
    super(message);
    // A server's problem document may add fields, but it replaces no method, no prototype and no message.
    const allowed = Object.entries(fields).filter(
      ([name]) => name !== "stack" && !(name in Error.prototype),
    );
    Object.assign(this, Object.fromEntries(allowed));
  }
}

export class AbortError extends UploadError {
  // DOMException's name of an abort, so that code which recognises aborts by that name works here too.
  name = "AbortError";
}
export class NetworkError extends UploadError {
  name = "NetworkError";
}
export class ExpiredError extends UploadError {
  name = "ExpiredError";
}
export class RateLimitError extends UploadError {
  name = "RateLimitError";
}
export class RefusedError extends UploadError {
  name = "RefusedError";
}
