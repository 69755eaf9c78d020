import { Broker, createIdempotencyKey } from "./broker.js";
import { AbortError, RefusedError } from "./errors.js";
import { queryLocks } from "./locks.js";
import { sanitize } from "./names.js";
import { createDiagnosis } from "./network.js";
import { checkOptions } from "./options.js";
import { createSemaphore } from "./semaphore.js";
import { putWithXhr } from "./transport.js";
import { FileUpload } from "./upload.js";
import { parseWebUrl } from "./urls.js";

/**
 * @typedef {import("./index.js").Uploader} Uploader
 * @typedef {import("./index.js").Upload} Upload
 */

const UNFINISHED_STATUSES = new Set(["pending", "registering"]);

/**
 * Create an uploader.
 *
 * @param {import("./index.js").UploaderOptions} options
 * @param {import("./transport.js").Transport} [put]
 * @returns {Uploader}
 */
export function createUploader(options, put = putWithXhr) {
  const endpoint = checkOptions(options);
  const { stallTimeout = 30, concurrency = 3, patience = 300 } = options;
  const diagnose = createDiagnosis();
  const settings = { endpoint, getToken: options.getToken, patience, diagnose };
  // With a limit of 0 no file would ever be sent.
  const acquire = createSemaphore(concurrency || 1);

  /** @type {Uploader["cancel"]} */
  const cancel = ({ id }, { signal } = {}) =>
    run(settings, signal, (broker) =>
      broker.requestRepeatedly(`/uploads/${id}`, { method: "DELETE" }),
    );

  const context = { acquire, cancel, diagnose, put, stallTimeout };

  return {
    cancel,

    upload: (file, options = {}) =>
      run(settings, options.signal, (broker) =>
        new FileUpload(file, options, broker, context).run(),
      ),

    pending: ({ signal } = {}) => run(settings, signal, findUnfinished),

    limits: ({ signal } = {}) => run(settings, signal, (broker) => broker.request("/limits")),

    assets: ({ signal, ...query } = {}) =>
      run(settings, signal, (broker) => broker.request(`/assets?${queryString(query)}`)),

    registerUrl: ({ signal, ...options }) =>
      run(settings, signal, (broker) => registerUrl(broker, options)),
  };
}

/**
 * Do the work of one call, and throw an AbortError for whatever the abort of its signal breaks.
 *
 * @template T
 * @param {import("./broker.js").BrokerSettings} settings
 * @param {AbortSignal | undefined} signal
 * @param {(broker: Broker) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function run(settings, signal, work) {
  try {
    signal?.throwIfAborted();
    return await work(new Broker(settings, signal));
  } catch (error) {
    if (!signal?.aborted) throw error;
    throw new AbortError("Cancelled.", { code: "aborted", cause: signal.reason });
  }
}

/**
 * Return the user's unfinished uploads that no other tab works on.
 *
 * @param {Broker} broker
 */
async function findUnfinished(broker) {
  /** @type {{ items: Upload[] }} */
  const { items } = await broker.requestRepeatedly("/uploads?limit=100");
  // The locks are queried after the list, so that no upload is found which another tab has finished meanwhile.
  const locks = await queryLocks();
  const unfinished = items.filter(
    ({ id, status }) => UNFINISHED_STATUSES.has(status) && !locks?.has(id),
  );
  return Promise.all(unfinished.map(({ id }) => refreshUpload(broker, id)));
}

/**
 * Complete an upload whose bytes may be stored, and return it as it is then.
 *
 * @param {Broker} broker
 * @param {string} id
 * @returns {Promise<Upload>}
 */
const refreshUpload = (broker, id) =>
  broker
    .request(`/uploads/${id}/complete`, { method: "POST" })
    .catch(() => broker.requestRepeatedly(`/uploads/${id}`));

/**
 * Register media that is public on the web.
 *
 * @param {Broker} broker
 * @param {import("./index.js").RegisterUrlOptions} options
 */
function registerUrl(broker, { url, name, ...labels }) {
  // A browser writes a domain in other scripts in Punycode, for example.
  const href = parseWebUrl(url)?.href;
  if (!href)
    throw new RefusedError(
      `"${sanitize(url)}" is no web address. Paste one that begins with https://`,
      { code: "invalid_url" },
    );
  const body = { url: href, name: sanitize(name) || undefined, ...labels };
  const idempotencyKey = createIdempotencyKey();
  return broker.requestRepeatedly("/assets", { method: "POST", body, idempotencyKey });
}

/**
 * Return the query string of the values that are not undefined.
 *
 * @param {Omit<import("./index.js").PageOptions, "signal">} query
 */
function queryString(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined) parameters.set(name, String(value));
  return parameters;
}
