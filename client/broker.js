import { within } from "./abort.js";
import { failure, UploadError } from "./errors.js";

/**
 * @typedef {(
 *   path: string, method?: "POST" | "DELETE", body?: object | null, ticket?: string, key?: number
 * ) => Promise<any>} Call
 */

/**
 * The only way to the broker: JSON in and out, a token on each request, each refusal an UploadError.
 *
 * @param {any} options Those of the uploader.
 * @param {AbortSignal} [signal]
 * @returns {Call}
 */
export const connect =
  ({ getToken, endpoint }, signal) =>
  async (path, method, body, ticket, key) => {
    // Here a forgotten endpoint is told as a defect, and not taken for a lost connection.
    const url = endpoint.replace(/\/*$/, path);

    /**
     * @param {boolean} refresh
     * @returns {Promise<any[]>} The response and what it says, or why that can't be read.
     */
    const request = async (refresh) => {
      let token;
      try {
        token = await (getToken.call ? getToken({ refresh, signal }) : getToken);
        // An app's server may answer with a page of HTML, or with nothing, where it should give a token.
        if (!token || /\s\S/.test(token)) throw Error("getToken gave no token.");
      } catch (/** @type {any} */ cause) {
        throw new UploadError(cause?.message ?? cause, {
          code: "token_failed",
          cause,
          // What fetch throws for a lost connection; any other TypeError is a defect of the app.
          retryable: /^TypeError: (\w+ fail|failed to f|(the .*)?net)/i.test(cause),
        });
      }

      let response;
      try {
        response = await fetch(
          url,
          /** @type {any} */ ({
            method,
            headers: {
              Authorization: `Bearer ${token}`,
              ...(ticket && { "Upload-Ticket": ticket }),
              ...(key && { "Idempotency-Key": key }),
              ...(body && { "Content-Type": "application/json" }),
            },
            body: body && JSON.stringify(body),
            signal,
          }),
        );
        return [response, response.status === 204 || (await response.json())];
      } catch (cause) {
        return [response, null, cause];
      }
    };

    for (let refresh = false; ; refresh = true) {
      // A connection that says nothing any more would end by itself only after many minutes. No gateway
      // waits so long for its function.
      let [{ ok, status = 0, headers } = /** @type {any} */ (0), answer, cause] = await within(
        60,
        signal,
        request(refresh),
      );
      if (status === 202)
        answer = { code: "still_registering", detail: "Sync is still registering it." };
      else if (ok && answer) return answer;
      const wait = headers?.get("Retry-After");
      if (status !== 401 || refresh)
        throw failure(status, {
          // It is in seconds, or a date.
          retryAfter: Math.max(0, +wait || (Date.parse(wait) - Date.now()) / 1000 || 0),
          requestId: headers?.get("X-Request-Id"),
          cause,
          ...answer,
        });
    }
  };
