import { ExpiredError, NetworkError, RateLimitError, RefusedError, UploadError } from "./errors.js";
import { SERVER_TROUBLE, UNREACHABLE } from "./messages.js";

const RATE_LIMIT_CODES = new Set(["rate_limited", "queue_full"]);

// Besides the 5xx: Request Timeout (RFC 9110), Too Early (RFC 8470), Too Many Requests (RFC 6585).
const TRANSIENT_STATUSES = new Set([408, 425, 429]);

/**
 * Whether no response came, or a captive portal responded for the server, with a page and status 200.
 *
 * @param {number} status 0 if no response came.
 */
const isNetworkFailure = (status) => status < 300 && status !== 202;

/** @param {number} status */
const isTransient = (status) => status < 300 || status >= 500 || TRANSIENT_STATUSES.has(status);

/**
 * Return the class of errors for a response.
 *
 * @param {number} status
 * @param {string} code
 * @param {boolean} retryable
 */
function classOf(status, code, retryable) {
  if (status === 410 || code === "url_expired") return ExpiredError;
  if (RATE_LIMIT_CODES.has(code)) return RateLimitError;
  if (isNetworkFailure(status)) return NetworkError;
  return retryable ? UploadError : RefusedError;
}

/**
 * Return the error for a response.
 *
 * @param {number} status 0 if no response came.
 * @param {string} message
 * @param {{ code: string, retryable?: boolean } & Record<string, unknown>} fields
 */
function createError(status, message, fields) {
  const { code, retryable = isTransient(status) } = fields;
  const ErrorClass = classOf(status, code, retryable);
  return new ErrorClass(message, { ...fields, retryable, status });
}

/**
 * Return the error for a response of the broker, or of a gateway or captive portal before it.
 *
 * @param {number} status 0 if no response came.
 * @param {any} body An RFC 9457 problem document, any other JSON, or undefined.
 * @param {Record<string, unknown>} fields They replace the body's own.
 */
export function brokerError(status, body, fields) {
  const problem = body ?? {};
  const fallback = isNetworkFailure(status) ? UNREACHABLE : SERVER_TROUBLE;
  return createError(status, problem.detail || problem.title || fallback, {
    code: status ? "unexpected_response" : "broker_unreachable",
    ...problem,
    errors: Array.isArray(problem.errors) ? problem.errors : [],
    ...fields,
  });
}

/**
 * Return the error for a response of the storage. S3's XML becomes the cause, since it is for developers.
 *
 * @param {import("./transport.js").StorageResponse} response
 * @param {string} fileName
 * @param {Record<string, unknown>} [fields]
 */
export function storageError({ status, responseText }, fileName, fields) {
  let code = "storage_refused";
  let message = `"${fileName}" could not be stored. Try again later.`;
  if (!status) {
    code = "storage_unreachable";
    message = UNREACHABLE;
  }
  // S3 refuses an expired URL with 403 AccessDenied, as it refuses a wrong signature.
  const isExpired = status === 403;
  if (isExpired) {
    code = "url_expired";
    message = "The upload link expired. Try again.";
  }
  return createError(status, message, {
    code,
    // The next try gets another URL. S3 reports a stalled connection as 400 RequestTimeout.
    retryable: isExpired || isTransient(status) || responseText.includes("RequestTimeout"),
    requestId: responseText.match(/<RequestId>([^<]+)/)?.[1],
    cause: responseText,
    ...fields,
  });
}
