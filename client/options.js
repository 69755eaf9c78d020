import { parseWebUrl } from "./urls.js";

/**
 * Returns the endpoint without a slash at its end.
 *
 * @param {string | URL} endpoint
 */
function checkEndpoint(endpoint) {
  const url = parseWebUrl(endpoint);
  if (url) return (url.origin + url.pathname).replace(/\/+$/, "");
  throw new TypeError(
    `createUploader: endpoint must be the broker's full URL, such as https://api.example.com, not "${endpoint}".`,
  );
}

/**
 * Throws a TypeError that says what to pass, so that a mistake is seen before anybody uploads.
 *
 * @param {any} options
 * @returns {string} The endpoint without a slash at its end.
 */
export function checkOptions({ endpoint, getToken, ...rest } = {}) {
  const url = checkEndpoint(endpoint);
  if (!getToken || !["function", "string"].includes(typeof getToken))
    throw new TypeError(
      "createUploader: getToken must be a function that returns the user's token, or that token.",
    );
  for (const name of ["concurrency", "patience", "stallTimeout"]) {
    const value = rest[name] ?? 0;
    // NaN is neither.
    if (typeof value !== "number" || !(value >= 0))
      throw new TypeError(`createUploader: ${name} must be a number, 0 or more.`);
  }
  return url;
}
