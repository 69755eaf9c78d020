/**
 * What can go wrong, one class for each thing that a page can do about it:
 *
 *     UploadError          whatever no class below stands for, such as the broker's own trouble
 *     ├── AbortError       the page's own signal ended it
 *     ├── RefusedError     the same request will be refused again
 *     ├── ExpiredError     the upload's time is over, or it was cancelled: a new one may be begun
 *     ├── NetworkError     no answer came, or one that the broker and the storage can't have given
 *     └── RateLimitError   the broker has too many requests at the moment
 */
export class UploadError extends Error {
  name = "UploadError";

  /**
   * @param {string} message
   * @param {{
   *   code: string, retryable?: boolean, status?: number, requestId?: string, retryAfter?: number,
   *   errors?: { pointer: string, detail: string }[], ticket?: string, position?: number,
   *   cause?: unknown, hint?: string | undefined,
   * } & Record<string, unknown>} facts
   */
  constructor(message, facts) {
    super(message);
    for (const [name, value] of Object.entries({ retryable: false, errors: [], ...facts })) {
      // Some of the facts are a server's: they add fields, and replace no method, no prototype and no message.
      if (!(name in this)) /** @type {any} */ (this)[name] = value;
    }
  }
}

// Each has its name as text, because a minified class has lost its own name.
export class AbortError extends UploadError {
  // The platform's own name of an abort, so that code which recognises aborts by that name works here too.
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
