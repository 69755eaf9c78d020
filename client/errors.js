/** The one class of everything that can go wrong; `code` tells the cases apart. */
export class UploadError extends Error {
  /**
   * @param {string} message
   * @param {{
   *   code: string, retryable?: boolean, status?: number, requestId?: string, retryAfter?: number,
   *   errors?: { pointer: string, detail: string }[], cause?: unknown,
   * }} facts
   */
  constructor(message, { cause, code, retryable = false, errors = [], ...facts }) {
    super(message, { cause });
    this.name = "UploadError";
    this.code = code;
    this.retryable = retryable;
    this.errors = errors;
    this.status = facts.status;
    this.requestId = facts.requestId;
    this.retryAfter = facts.retryAfter;
  }
}

/** @param {number} status */
const isPassing = (status) => [408, 425, 429].includes(status) || status >= 500;

/**
 * What the broker refused, in the broker's own words where it was the broker that answered.
 *
 * @param {import("./broker.js").Answer} answer Its body is an RFC 9457 document, or nothing.
 * @param {string | undefined} requestId
 */
export function brokerRefusal({ status, body, retryAfter }, requestId) {
  const problem = body ?? {};
  return new UploadError(problem.detail || problem.title || `The broker answered ${status}.`, {
    code: "unexpected_answer",
    retryable: isPassing(status),
    requestId,
    ...problem,
    status,
    retryAfter,
  });
}

/**
 * Why the storage did not take the file: S3 says it in XML, a lost connection has status 0.
 *
 * @param {number} status
 * @param {string} xml
 */
export function storageRefusal(status, xml) {
  if (!status) {
    return new UploadError("The connection to the storage was lost.", {
      code: "storage_unreachable",
      retryable: true,
    });
  }
  /** @param {string} tag */
  const read = (tag) => new RegExp(`<${tag}>([^<]+)<`).exec(xml)?.[1];
  const reason = [read("Code"), read("Message")].filter(Boolean).join(": ");
  return new UploadError(
    `The storage refused the file with status ${status}${reason && ` (${reason})`}.`,
    {
      code: "storage_refused",
      status,
      retryable: isPassing(status),
      requestId: read("RequestId"),
    },
  );
}

/**
 * Named like the platform's own abort, so that code which tells aborts by that name works here too.
 *
 * @param {unknown} reason
 */
export function aborted(reason) {
  const error = new UploadError("The upload was aborted.", { code: "aborted", cause: reason });
  error.name = "AbortError";
  return error;
}
