import { within } from "./abort.js";
import { brokerFailure } from "./failures.js";
import { tokenFrom } from "./token.js";

// A connection that says nothing any more would end by itself only after many minutes. No gateway waits so long for its
// function.
const ANSWERED_WITHIN = 60; // seconds

/** @type {any} */
const NO_RESPONSE = { status: 0 };

/**
 * @typedef {(
 *   path: string, method?: "POST" | "DELETE", body?: object | null, ticket?: string, key?: number
 * ) => Promise<any>} Call
 */

/**
 * Returns the seconds that the header asks for: it has a number of them, or a date.
 *
 * @param {any} header
 */
const secondsIn = (header) =>
  Math.max(0, Number(header) || (Date.parse(header) - Date.now()) / 1000 || 0);

/**
 * The only way to the broker: JSON in and out, a token on each request, each refusal an UploadError.
 *
 * @param {string} endpoint
 * @param {import("./index.js").UploaderOptions["getToken"]} getToken
 * @param {import("./network.js").Diagnose} diagnose
 * @param {AbortSignal} [signal]
 * @returns {Call}
 */
export const connect =
  (endpoint, getToken, diagnose, signal) => async (path, method, content, ticket, key) => {
    let isAsked = false;
    const explain = () =>
      isAsked
        ? diagnose("broker", "ALLOWED_ORIGINS", endpoint)
        : diagnose("server", "CORS rules", "getToken's URL");

    /**
     * @param {boolean} refresh
     * @returns {Promise<[response: any, body?: any, cause?: unknown]>} What came, or why nothing did.
     */
    const request = async (refresh) => {
      isAsked = false;
      const token = await tokenFrom(getToken, { refresh, signal }, explain);
      isAsked = true;
      let response = NO_RESPONSE;
      try {
        response = await fetch(
          endpoint + path,
          /** @type {any} */ ({
            method,
            headers: {
              Authorization: `Bearer ${token}`,
              ...(ticket && { "Upload-Ticket": ticket }),
              ...(key && { "Idempotency-Key": key }),
              ...(content && { "Content-Type": "application/json" }),
            },
            body: content && JSON.stringify(content),
            signal,
          }),
        );
        return [response, response.status === 204 || (await response.json())];
      } catch (cause) {
        return [response, undefined, cause];
      }
    };

    /** @param {boolean} refresh */
    const ask = (refresh) => within(ANSWERED_WITHIN, signal, request(refresh));
    let answer = await ask(false);
    // A kept token may have expired.
    if (answer?.[0].status === 401) answer = await ask(true);

    let [{ ok, status, headers }, body, cause] = answer ?? [NO_RESPONSE];
    if (status === 202)
      body = { code: "still_registering", detail: "It is still being processed." };
    else if (ok && body) return body;
    throw brokerFailure(status, body, {
      retryAfter: secondsIn(headers?.get("Retry-After")),
      requestId: headers?.get("X-Request-Id") ?? body?.requestId,
      // A request that the network's return cut short says nothing about the server.
      hint: body || answer === null ? undefined : explain(),
      // What a gateway says is for developers.
      cause: cause ?? body?.message,
    });
  };
