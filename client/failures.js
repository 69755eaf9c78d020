import { ExpiredError, NetworkError, RateLimitError, RefusedError, UploadError } from "./errors.js";
import { UNREACHABLE } from "./words.js";

const RATE_LIMIT_CODES = new Set(["rate_limited", "queue_full"]);

/**
 * Whether nobody answered, or somebody else did: a captive portal answers in the broker's place, with a page and
 * status 200.
 *
 * @param {number} status
 */
const isNetwork = (status) => status < 300 && status !== 202;

/** @param {number} status */
const isTransient = (status) => status < 300 || status >= 500 || [408, 425, 429].includes(status);

/**
 * @param {number} status 0 if no answer came.
 * @param {string} message
 * @param {{ code: string, retryable?: boolean } & Record<string, unknown>} facts
 */
function failure(status, message, facts) {
  const { code, retryable = isTransient(status) } = facts;
  let Kind = retryable ? UploadError : RefusedError;
  if (isNetwork(status)) Kind = NetworkError;
  if (RATE_LIMIT_CODES.has(code)) Kind = RateLimitError;
  if (status === 410 || code === "url_expired") Kind = ExpiredError;
  return new Kind(message, { ...facts, retryable, status });
}

/**
 * What went wrong with a request to the broker, in its own words where it was the broker that answered.
 *
 * @param {number} status 0 if no answer came.
 * @param {any} body What it said: an RFC 9457 document or anything else.
 * @param {object} facts What is known beside that.
 */
export function brokerFailure(status, body, facts) {
  const said = body ?? {};
  const words = isNetwork(status) ? UNREACHABLE : "The server has a problem. Try again later.";
  return failure(status, said.detail || said.title || words, {
    code: status ? "unexpected_answer" : "broker_unreachable",
    ...said,
    errors: Array.isArray(said.errors) ? said.errors : [],
    ...facts,
  });
}

/**
 * Why the storage did not take the file. S3 says it in XML, which stays for developers.
 *
 * @param {{ status: number, responseText: string }} answer Its status is 0 if none came.
 * @param {string} fileName
 * @param {object} [facts] What is known beside that.
 */
export function storageFailure({ status, responseText }, fileName, facts) {
  let code = "storage_refused";
  let message = `"${fileName}" could not be stored. Try again later.`;
  if (!status) {
    code = "storage_unreachable";
    message = UNREACHABLE;
  }
  // It is S3's word for a URL whose time is over, among other things.
  const isExpired = status === 403;
  if (isExpired) {
    code = "url_expired";
    message = "The upload link expired. Try again.";
  }
  return failure(status, message, {
    code,
    // Another URL may help. "RequestTimeout" is what S3 says with 400 after a stall.
    retryable: isExpired || isTransient(status) || responseText.includes("RequestTimeout"),
    requestId: responseText.match(/<RequestId>([^<]+)/)?.[1],
    cause: responseText,
    ...facts,
  });
}
