import { UploadError } from "./errors.js";
import { brokerError } from "./failures.js";
import { retry } from "./retry.js";
import { BACK_ONLINE, TIMED_OUT, withTimeout } from "./timing.js";
import { requestToken } from "./token.js";

// API Gateway waits 29 seconds for its function; a connection that was lost silently would end only after minutes.
const RESPONSE_TIMEOUT = 60; // seconds

const STILL_REGISTERING = {
  code: "still_registering",
  detail: "It is still being processed.",
};

/**
 * @typedef {object} BrokerSettings
 * @property {string} endpoint
 * @property {import("./index.js").UploaderOptions["getToken"]} getToken
 * @property {number} patience Seconds.
 * @property {import("./network.js").Diagnose} diagnose
 *
 * @typedef {object} RequestOptions
 * @property {"GET" | "POST" | "DELETE"} [method]
 * @property {object} [body]
 * @property {string} [idempotencyKey]
 * @property {string | undefined} [ticket] The ticket of the rate limiter's last refusal.
 *
 * @typedef {object} Exchange
 * @property {Response | undefined} [response]
 * @property {any} [json]
 * @property {unknown} [cause] The reason why the response or its JSON could not be read.
 */

/** @type {Exchange} */
const NO_RESPONSE = {};

/** Return a key that differs from the user's other keys of a day. It need not be secret. */
export const createIdempotencyKey = () => String(Math.random());

/**
 * Return the seconds of a Retry-After header, which is a number or a date: RFC 9110, 10.2.3.
 *
 * @param {string | null | undefined} header
 */
function parseRetryAfter(header) {
  const seconds = Number(header) || (Date.parse(header ?? "") - Date.now()) / 1000;
  return Math.max(0, seconds || 0);
}

/**
 * Send JSON, and parse the JSON of the response.
 *
 * @param {string} url
 * @param {string} token
 * @param {RequestOptions} options
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<Exchange>}
 */
async function fetchJson(url, token, options, signal) {
  const { method = "GET", body, idempotencyKey, ticket } = options;
  /** @type {Response | undefined} */
  let response;
  try {
    response = await fetch(url, {
      method,
      headers: {
        Authorization: `Bearer ${token}`,
        ...(ticket && { "Upload-Ticket": ticket }),
        ...(idempotencyKey && { "Idempotency-Key": idempotencyKey }),
        ...(body && { "Content-Type": "application/json" }),
      },
      body: body ? JSON.stringify(body) : null,
      signal: signal ?? null,
    });
    // 204 No Content has no JSON.
    return { response, json: response.status === 204 ? {} : await response.json() };
  } catch (cause) {
    return { response, cause };
  }
}

/** Sends the requests of one call to the broker, each with a token, and throws an UploadError for each refusal. */
export class Broker {
  #settings;
  #signal;

  /**
   * @param {BrokerSettings} settings
   * @param {AbortSignal | undefined} signal
   */
  constructor(settings, signal) {
    this.#settings = settings;
    this.#signal = signal;
  }

  /**
   * Make one request, and return the JSON of a successful response.
   *
   * @param {string} path
   * @param {RequestOptions} [options]
   * @returns {Promise<any>}
   */
  async request(path, options = {}) {
    try {
      return await this.#requestWithToken(path, options, false);
    } catch (error) {
      if (!(error instanceof UploadError) || error.status !== 401) throw error;
      // A cached token may have expired.
      return this.#requestWithToken(path, options, true);
    }
  }

  /**
   * Make a request until it succeeds or fails for good.
   *
   * @param {string} path
   * @param {RequestOptions & Pick<import("./retry.js").RetryOptions, "onPause">} [options]
   * @returns {Promise<any>}
   */
  requestRepeatedly(path, { onPause, ...options } = {}) {
    return this.retry((ticket) => this.request(path, { ...options, ticket }), onPause);
  }

  /**
   * Repeat work that makes requests, with the patience and the signal of this call.
   *
   * @template T
   * @param {(ticket: string | undefined, failures: number) => Promise<T>} work
   * @param {import("./retry.js").RetryOptions["onPause"]} onPause
   */
  retry(work, onPause) {
    return retry(work, { patience: this.#settings.patience, signal: this.#signal, onPause });
  }

  /**
   * Make one request with a token of getToken.
   *
   * @param {string} path
   * @param {RequestOptions} options
   * @param {boolean} refresh Whether the broker has just refused the token.
   */
  async #requestWithToken(path, options, refresh) {
    const { endpoint, getToken, diagnose } = this.#settings;
    const signal = this.#signal;
    const token = await requestToken(getToken, { refresh, signal }, () =>
      diagnose("server", "CORS rules", "getToken's URL"),
    );
    const exchange = fetchJson(endpoint + path, token, options, signal);
    const result = await withTimeout(exchange, RESPONSE_TIMEOUT, signal);
    // A request that was sent while the network was gone proves nothing about the broker.
    if (result === BACK_ONLINE) throw brokerError(0, undefined, {});
    const { response, json, cause } = result === TIMED_OUT ? NO_RESPONSE : result;
    const isRegistering = response?.status === 202;
    if (response?.ok && !isRegistering && json) return json;
    throw brokerError(response?.status ?? 0, isRegistering ? STILL_REGISTERING : json, {
      retryAfter: parseRetryAfter(response?.headers.get("Retry-After")),
      requestId: response?.headers.get("X-Request-Id") ?? json?.requestId,
      hint: json ? undefined : diagnose("broker", "ALLOWED_ORIGINS", endpoint),
      // API Gateway's own errors are {"message": "..."}, which is for developers.
      cause: cause ?? json?.message,
    });
  }
}
