import { unlessAborted } from "./abort.js";
import { brokerRefusal, UploadError } from "./errors.js";

/**
 * @typedef {{ status: number, body: any, retryAfter: number | undefined }} Answer
 * @typedef {(method: string, path: string, options?: { body?: object, signal?: AbortSignal }) => Promise<Answer>} Call
 */

/**
 * The only way to the broker: JSON in and out, a token on each request, each refusal an UploadError.
 *
 * @param {import("./index.js").UploaderOptions} options
 * @returns {Call}
 */
export function connect({ endpoint, getToken }) {
  const base = endpoint.replace(/\/+$/, "");

  /** @param {AbortSignal} [signal] */
  const authorize = async (signal) =>
    typeof getToken === "function" ? getToken({ signal }) : getToken;

  return async (method, path, { body, signal } = {}) => {
    const token = await unlessAborted(authorize(signal), signal).catch((cause) => {
      throw new UploadError(cause?.message || "No token could be had.", {
        code: "token_failed",
        cause,
      });
    });
    try {
      const response = await fetch(base + path, {
        method,
        headers: {
          Authorization: `Bearer ${token}`,
          ...(body && { "Content-Type": "application/json" }),
        },
        body: body && JSON.stringify(body),
        signal,
      });
      return read(response, await response.text());
    } catch (cause) {
      if (cause instanceof UploadError) throw cause;
      throw new UploadError("The broker could not be reached.", {
        code: "broker_unreachable",
        retryable: true,
        cause,
      });
    }
  };
}

/**
 * @param {Response} response
 * @param {string} text Its body.
 * @returns {Answer}
 */
function read({ ok, status, headers }, text) {
  const retryAfter = Number(headers.get("Retry-After") ?? Number.NaN);
  const answer = {
    status,
    body: parse(text),
    retryAfter: retryAfter >= 0 ? retryAfter : undefined,
  };
  // A proxy or a captive portal may answer in the broker's place, with a page of HTML and status 200.
  if (ok && (answer.body || !text)) return answer;
  throw brokerRefusal(answer, headers.get("X-Request-Id") ?? undefined);
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
