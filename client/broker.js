import { within } from "./abort.js";
import { failure, UploadError } from "./errors.js";

/** @typedef {(route: string, body?: object, ticket?: string, key?: string) => Promise<any>} Call */

/**
 * The only way to the broker: JSON in and out, a token on each request, each refusal an UploadError.
 *
 * @param {import("./index.js").UploaderOptions} options
 * @param {AbortSignal} [signal]
 * @returns {Call} Takes routes such as `GET /limits`.
 */
export const connect =
  ({ endpoint, getToken }, signal) =>
  async (route, body, ticket, key) => {
    const [method, path] = /** @type {[string, string]} */ (route.split(" "));

    /** @param {boolean} refresh */
    const request = async (refresh) => {
      const token = await authorize(getToken, signal, refresh);
      let response;
      try {
        response = await fetch(endpoint.replace(/\/*$/, path), {
          method,
          headers: {
            Authorization: `Bearer ${token}`,
            ...(body && { "Content-Type": "application/json" }),
            ...(key && { "Idempotency-Key": key }),
            ...(ticket && { "Upload-Ticket": ticket }),
          },
          body: body && JSON.stringify(body),
          signal,
        });
        return { response, answer: await response.json() };
      } catch (cause) {
        return { response, cause };
      }
    };

    for (let refresh = false; ; refresh = true) {
      // A connection that says nothing any more would end by itself only after many minutes. No gateway
      // waits so long for its function.
      const { response, answer, cause } = (await within(60, signal, request(refresh))) ?? {};
      const { status = 0, headers, ok } = response ?? {};
      const isFinal = status !== 202;
      if (ok && answer && isFinal) return answer;
      const wait = headers?.get("Retry-After");
      if (status !== 401 || refresh)
        throw failure(status, isFinal ? answer : { code: "still_registering" }, {
          // It is in seconds, or a date.
          retryAfter: Math.max(0, +wait || (Date.parse(wait) - Date.now()) / 1000 || 0),
          requestId: headers?.get("X-Request-Id"),
          cause,
        });
    }
  };

/**
 * @param {any} getToken
 * @param {AbortSignal | undefined} signal
 * @param {boolean} refresh
 */
const authorize = async (getToken, signal, refresh) => {
  try {
    return await (getToken.call ? getToken({ signal, refresh }) : getToken);
  } catch (/** @type {any} */ cause) {
    throw new UploadError(cause?.message ?? cause, {
      code: "token_failed",
      // What fetch throws for a lost connection; any other TypeError is a defect of the app.
      retryable: /^TypeError.*(fetch|network|load)/i.test(cause),
      cause,
    });
  }
};
