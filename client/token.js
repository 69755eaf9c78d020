import { UploadError } from "./errors.js";
import { SIGNED_OUT, UNREACHABLE } from "./messages.js";
import { BACK_ONLINE, TIMED_OUT, withTimeout } from "./timing.js";

/**
 * @typedef {import("./index.js").UploaderOptions["getToken"]} GetToken
 * @typedef {import("./index.js").TokenContext} TokenContext
 * @typedef {() => string | undefined} Explain
 */

const TOKEN_TIMEOUT = 60; // seconds

const VISIBLE_ASCII = /^[!-~]+$/;

// How the message of a lost connection begins. Any other TypeError is a defect of the app.
const LOST_CONNECTION_MESSAGES = [
  "Failed to fetch", // Chromium, before the response
  "network error", // Chromium, while the body is read
  "NetworkError", // Firefox
  "Load failed", // Safari 17 and newer
  "The network connection", // Safari 16: "was lost"
  "The Internet connection", // Safari 16: "appears to be offline"
  "fetch failed", // Node
];

/** @param {any} error Anything may be thrown. */
const isLostConnection = (error) =>
  error?.name === "TypeError" &&
  LOST_CONNECTION_MESSAGES.some((beginning) => String(error.message).startsWith(beginning));

/**
 * Return what is wrong with a value that should be a token, without a word of the value; undefined if it may be one.
 *
 * @param {unknown} value
 */
function findFault(value) {
  if (!value) return SIGNED_OUT;
  const fault = (/** @type {string} */ found) =>
    `getToken must give the token alone, but gave ${found}.`;
  if (typeof value === "object") return fault("an object");
  if (typeof value !== "string") return fault(`a ${typeof value}`);
  if (/^</.test(value)) return fault("a page of HTML");
  if (/^[{["]/.test(value)) return fault("JSON text");
  if (/^bearer\s/i.test(value)) return fault("the word Bearer too");
  if (!VISIBLE_ASCII.test(value)) return fault("text with spaces or line breaks");
  return undefined;
}

/**
 * Return the error for a server of tokens that can't be reached.
 *
 * @param {{ cause?: unknown, hint?: string | undefined }} fields
 */
const unreachable = (fields) =>
  new UploadError(UNREACHABLE, { code: "token_failed", retryable: true, ...fields });

/**
 * Call getToken, which may throw, return a value or return a promise.
 *
 * @param {GetToken} getToken
 * @param {TokenContext} context
 * @param {Explain} explain
 * @returns {Promise<unknown>}
 */
async function callGetToken(getToken, context, explain) {
  if (typeof getToken === "string") return getToken;
  try {
    return await getToken(context);
  } catch (/** @type {any} */ cause) {
    if (isLostConnection(cause)) throw unreachable({ cause, hint: explain() });
    throw new UploadError(cause?.message || cause || SIGNED_OUT, { code: "token_failed", cause });
  }
}

/**
 * Return the user's token, or throw an error that says why there is no token.
 *
 * @param {GetToken} getToken
 * @param {TokenContext} context
 * @param {Explain} explain Return why the server that getToken asks may be out of reach.
 * @returns {Promise<string>}
 */
export async function requestToken(getToken, context, explain) {
  const call = callGetToken(getToken, context, explain);
  const value = await withTimeout(call, TOKEN_TIMEOUT, context.signal);
  if (value === TIMED_OUT) throw unreachable({ hint: explain() });
  // A request that was sent while the network was gone proves nothing about the server.
  if (value === BACK_ONLINE) throw unreachable({});
  const token = typeof value === "string" ? value.trim() : value;
  const message = findFault(token);
  if (message) throw new UploadError(message, { code: "token_failed" });
  return String(token);
}
