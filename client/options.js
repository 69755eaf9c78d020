import { parseWebUrl } from "./urls.js";

/** @typedef {import("./index.js").UploaderOptions} UploaderOptions */

const NUMBERS = /** @type {const} */ (["concurrency", "patience", "stallTimeout"]);

/**
 * Return the endpoint without a slash at its end.
 *
 * @param {string | URL | undefined} endpoint
 */
function parseEndpoint(endpoint) {
  const url = parseWebUrl(endpoint);
  if (url) return (url.origin + url.pathname).replace(/\/+$/, "");
  throw new TypeError(
    `createUploader: endpoint must be the broker's full URL, such as https://api.example.com, not "${endpoint}".`,
  );
}

/**
 * Throw a TypeError that says what to pass if an option is missing or wrong, before a user uploads anything.
 *
 * @param {Partial<UploaderOptions>} [options]
 * @returns {string} The endpoint without a slash at its end.
 */
export function checkOptions({ endpoint, getToken, ...numbers } = {}) {
  const url = parseEndpoint(endpoint);
  if (!getToken || !["function", "string"].includes(typeof getToken))
    throw new TypeError(
      "createUploader: getToken must be a function that returns the user's token, or that token.",
    );
  for (const name of NUMBERS) {
    const value = numbers[name] ?? 0;
    // NaN is neither 0 nor more.
    if (typeof value !== "number" || !(value >= 0))
      throw new TypeError(`createUploader: ${name} must be a number, 0 or more.`);
  }
  return url;
}
