import { UploadError } from "./errors.js";
import { UNREACHABLE } from "./words.js";

const VISIBLE_ASCII = /^[!-~]+$/;

// How browsers and Node begin the message of a lost connection; any other TypeError is a defect of the app.
const LOST_CONNECTION =
  /^(failed to fetch|fetch failed|load failed|network ?error|the \w+ connection)/i;

/** @param {any} error */
const isLostConnection = (error) =>
  error?.name === "TypeError" && LOST_CONNECTION.test(error.message);

/**
 * Returns what is wrong with what was given as a token, without a word of it; nothing if it may be one.
 *
 * @param {any} given
 */
function faultOf(given) {
  if (!given) return "You are not signed in: getToken gave no token. Sign in and try again.";
  /** @param {string} what */
  const say = (what) => `getToken must give the token alone, but gave ${what}.`;
  if (typeof given === "object") return say("an object");
  if (typeof given !== "string") return say(`a ${typeof given}`);
  if (/^</.test(given)) return say("a page of HTML");
  if (/^[{["]/.test(given)) return say("JSON text");
  if (/^bearer\s/i.test(given)) return say("the word Bearer too");
  if (!VISIBLE_ASCII.test(given)) return say("text with spaces or line breaks");
}

/**
 * Returns the token, or throws an error that says why there is none.
 *
 * @param {import("./index.js").UploaderOptions["getToken"]} getToken
 * @param {import("./index.js").TokenContext} context
 * @param {() => string | undefined} explain Why its server may be out of reach.
 * @returns {Promise<string>}
 */
export async function tokenFrom(getToken, context, explain) {
  /** @type {any} */
  let given;
  try {
    given = typeof getToken === "function" ? await getToken(context) : getToken;
  } catch (/** @type {any} */ cause) {
    const retryable = isLostConnection(cause);
    const message = retryable ? UNREACHABLE : cause?.message || cause || faultOf(cause);
    const hint = retryable ? explain() : undefined;
    throw new UploadError(message, { code: "token_failed", retryable, cause, hint });
  }
  const token = given?.trim?.() ?? given;
  const fault = faultOf(token);
  if (!fault) return token;
  throw new UploadError(fault, { code: "token_failed" });
}
