/** The one class of everything that can go wrong; `code` tells the cases apart. */
export class UploadError extends Error {
  name = "UploadError";
  /** @type {string} */ code;
  /** @type {boolean} */ retryable;
  /** @type {number | undefined} */ status;
  /** @type {string | undefined} */ requestId;
  /** @type {number | undefined} Seconds to wait before another try. */ retryAfter;
  /** @type {{ pointer: string, detail: string }[]} */ errors;

  /**
   * @param {string} message
   * @param {{
   *   code: string, retryable?: boolean, status?: number, requestId?: string, retryAfter?: number,
   *   errors?: { pointer: string, detail: string }[], cause?: unknown,
   * }} facts
   */
  constructor(message, { cause, code, retryable, status, requestId, retryAfter, errors }) {
    super(message, { cause });
    this.code = code;
    this.retryable = retryable ?? false;
    this.status = status;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
    this.errors = errors ?? [];
  }
}

/** @param {number} status */
const isPassing = (status) => [408, 425, 429].includes(status) || status >= 500;

/**
 * What the broker refused, in the broker's own words where it was the broker that answered.
 *
 * @param {import("./broker.js").Answer} answer Its body is an RFC 9457 document, or nothing.
 * @param {string | null} requestId
 */
export const brokerRefusal = ({ status, body, retryAfter }, requestId) =>
  new UploadError(body?.detail || body?.title || `The broker answered ${status}.`, {
    code: body?.code ?? "unexpected_answer",
    status,
    retryable: body?.retryable ?? isPassing(status),
    requestId: body?.requestId ?? requestId ?? undefined,
    retryAfter,
    errors: body?.errors,
  });

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
