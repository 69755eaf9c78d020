/**
 * What can go wrong, one class for each thing that a page can do about it:
 *
 *     UploadError          whatever no class below stands for, such as the broker's own trouble
 *     ├── AbortError       the page's own signal ended it
 *     ├── RefusedError     the same request will be refused again
 *     ├── ExpiredError     the upload's time is over, or it was cancelled: a new one may be begun
 *     ├── NetworkError     no answer came, or one that the broker and the storage can't have given
 *     └── LineError        too many wait for their turn at the broker
 */
export class UploadError extends Error {
  name = "UploadError";

  /**
   * @param {string} message
   * @param {{
   *   code: string, retryable?: boolean, status?: number, requestId?: string, retryAfter?: number,
   *   errors?: { pointer: string, detail: string }[], ticket?: string, position?: number,
   *   cause?: unknown,
   * } & Record<string, unknown>} facts
   */
  constructor(message, facts) {
    // A server's body is among the facts: it may add to the error, but replaces neither a method nor the prototype.
    const self = /** @type {any} */ (super(message));
    for (const name in facts) self[name] ??= facts[name];
    self.retryable ??= false;
    self.errors ??= [];
  }
}

// Named in so many words, because a minified class has lost its own name.
export class AbortError extends UploadError {
  // The platform's own name of an abort, so that code which tells aborts by that name works here too.
  name = "AbortError";
}
export class NetworkError extends UploadError {
  name = "NetworkError";
}
export class ExpiredError extends UploadError {
  name = "ExpiredError";
}
export class LineError extends UploadError {
  name = "LineError";
}
export class RefusedError extends UploadError {
  name = "RefusedError";
}

/**
 * What went wrong with a request, in the words of the server where it was the server that answered.
 *
 * @param {any} status 0, if no answer came.
 * @param {object} facts What is known, and what it said: an RFC 9457 document, a gateway's `{message}`, or nothing.
 */
export function failure(status, facts) {
  /** @type {any} */
  const problem = {
    code: status ? "unexpected_answer" : "broker_unreachable",
    // A captive portal may answer in the broker's place, with a page and status 200.
    retryable: /^[025]|408|42[59]/.test(status),
    ...facts,
    status,
  };
  const Kind =
    status < 202
      ? NetworkError
      : /line/.test(problem.code)
        ? LineError
        : /expired|cancel/.test(problem.code)
          ? ExpiredError
          : problem.retryable
            ? UploadError
            : RefusedError;
  return new Kind(
    problem.detail ||
      problem.title ||
      problem.message ||
      `The broker answered ${status || "nothing"}.`,
    problem,
  );
}

/**
 * Why the storage did not take the file: S3 says it in XML.
 *
 * @param {number} status
 * @param {string} xml
 */
export function storageFailure(status, xml) {
  /** @param {string} tag */
  const read = (tag) => xml.match(`${tag}>([^<]+)`)?.[1] ?? "";
  return failure(status, {
    // 403 is S3's word for an address whose time is over, among other things.
    code: !status ? "storage_unreachable" : status === 403 ? "url_expired" : "storage_refused",
    detail:
      `The storage answered ${status || "nothing"}. ${read("Code")} ${read("Message")}`.trim(),
    requestId: read("RequestId"),
    // Another address may help against a 403; "RequestTimeout" is what S3 says with 400 after a stall.
    ...(/^403|Timeout/.test(status + xml) && { retryable: true }),
  });
}
