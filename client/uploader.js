import { connect } from "./broker.js";
import { AbortError, RefusedError } from "./errors.js";
import { knownLocks } from "./locks.js";
import { tidy } from "./names.js";
import { createDiagnosis } from "./network.js";
import { checkOptions } from "./options.js";
import { retrying } from "./retry.js";
import { putWithXhr } from "./transport.js";
import { createTurns } from "./turns.js";
import { uploading } from "./upload.js";
import { parseWebUrl } from "./urls.js";

/**
 * @typedef {import("./broker.js").Call} Call
 * @typedef {import("./retry.js").Retry} Retry
 */

/**
 * @param {import("./index.js").UploaderOptions} options
 * @param {import("./transport.js").Transport} [put]
 * @returns {import("./index.js").Uploader}
 */
export function createUploader(options, put = putWithXhr) {
  const endpoint = checkOptions(options);
  const { stallTimeout = 30, concurrency = 3, patience = 300 } = options;
  const diagnose = createDiagnosis();
  // No file would ever go if 0 were taken at its word.
  const takeTurn = createTurns(concurrency || 1);

  /**
   * Whatever an abort broke, the caller sees one kind of error for it.
   *
   * @template T
   * @param {AbortSignal | undefined} signal
   * @param {(call: Call, retry: Retry, key: number) => Promise<T>} work Its key is for one request.
   * @returns {Promise<T>}
   */
  const run = async (signal, work) => {
    try {
      signal?.throwIfAborted();
      const call = connect(endpoint, options.getToken, diagnose, signal);
      // Keys are each caller's own, for a day: they have to be unlike each other, but need not be secret.
      return await work(call, retrying(patience, signal), Math.random());
    } catch (error) {
      if (!signal?.aborted) throw error;
      throw new AbortError("Cancelled.", { code: "aborted", cause: signal.reason });
    }
  };

  /** @type {import("./index.js").Uploader["cancel"]} */
  const cancel = ({ id }, { signal } = {}) =>
    run(signal, (call, retry) => retry(() => call(`/uploads/${id}`, "DELETE")));

  const uploadFile = uploading(put, stallTimeout, takeTurn, cancel, diagnose);

  return {
    cancel,
    upload: (file, options = {}) =>
      run(options.signal, (call, retry, key) => uploadFile(file, options, call, retry, key)),

    pending: ({ signal } = {}) =>
      run(signal, async (call, retry) => {
        const { items } = await retry(() => call("/uploads?limit=100"));
        // Asked after the list, so that what another tab has ended meanwhile is not taken up.
        const locks = await knownLocks();
        return Promise.all(
          items
            .filter(
              (/** @type {import("./index.js").Upload} */ { id, status }) =>
                UNFINISHED.test(status) && !locks.includes(id),
            )
            .map((/** @type {import("./index.js").Upload} */ { id }) =>
              call(`/uploads/${id}/complete`, "POST").catch(() =>
                retry(() => call(`/uploads/${id}`)),
              ),
            ),
        );
      }),

    limits: ({ signal } = {}) => run(signal, (call) => call("/limits")),

    assets: ({ signal, ...query } = {}) =>
      run(signal, (call) =>
        // As JSON, what is undefined is left out.
        call(`/assets?${new URLSearchParams(JSON.parse(JSON.stringify(query)))}`),
      ),

    registerUrl: ({ signal, url, name, ...labels }) =>
      run(signal, async (call, retry, key) => {
        // As a browser writes it: a domain in other letters in Punycode, for example.
        const href = parseWebUrl(url)?.href;
        if (!href)
          throw new RefusedError(
            `"${tidy(url)}" is no web address. Paste one that begins with https://`,
            { code: "invalid_url" },
          );
        const body = { url: href, name: tidy(name) || undefined, ...labels };
        return retry(() => call("/assets", "POST", body, "", key));
      }),
  };
}

const UNFINISHED = /pending|registering/;
