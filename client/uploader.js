import { pause } from "./abort.js";
import { connect } from "./broker.js";
import { complete } from "./completion.js";
import { aborted, storageRefusal } from "./errors.js";
import { contentTypeOf } from "./media-type.js";
import { progressTo } from "./progress.js";

// Longer than the broker needs to find out the outcome of a registration whose answer was lost.
const PATIENCE = 300; // seconds

/**
 * @param {import("./transport.js").Transport} put
 * @param {import("./index.js").UploaderOptions & { patience?: number }} options
 * @returns {import("./index.js").Uploader}
 */
export function createUploaderWith(put, { patience = PATIENCE, ...options }) {
  const call = connect(options);

  /**
   * @param {any} pending The broker's answer to the presign.
   * @param {Blob} file
   * @param {import("./progress.js").Report} report
   * @param {AbortSignal | undefined} signal
   */
  const send = async (pending, file, report, signal) => {
    const { status, text } = await put({
      url: pending.uploadUrl,
      method: pending.method,
      headers: pending.headers,
      body: file,
      signal,
      onProgress: (loaded) => report("uploading", loaded),
    });
    if (status < 200 || status > 299) throw storageRefusal(status, text);
  };

  return {
    upload: (file, { name, type, projectId, signal, onProgress } = {}) =>
      abortable(signal, async () => {
        const report = progressTo(onProgress, file.size);
        report("waiting", 0);
        const contentType = contentTypeOf(file);
        const fileName = /** @type {File} */ (file).name ?? "upload";
        const { body: pending } = await call("POST", "/uploads", {
          body: { fileName, contentType, size: file.size, type, name, projectId },
          signal,
        });
        try {
          report("uploading", 0);
          await send(pending, file, report, signal);
          report("finishing", file.size);
          const upload = await complete(call, pending.id, patience, signal);
          report("done", file.size);
          return upload;
        } catch (error) {
          // Best effort: what stays behind expires at the broker.
          if (signal?.aborted) call("DELETE", `/uploads/${pending.id}`).catch(() => {});
          throw error;
        }
      }),

    registerUrl: ({ url, type, name, projectId, signal }) =>
      abortable(signal, async () => {
        const body = { url, type, name, projectId };
        const answer = await call("POST", "/assets", { body, signal });
        if (answer.status !== 202) return answer.body;
        await pause(answer.retryAfter ?? 1, signal);
        return complete(call, answer.body.id, patience, signal);
      }),

    assets: ({ limit, cursor, signal } = {}) =>
      abortable(signal, async () => {
        const query = new URLSearchParams();
        if (limit) query.set("limit", String(limit));
        if (cursor) query.set("cursor", cursor);
        return (await call("GET", `/assets?${query}`, { signal })).body;
      }),

    limits: ({ signal } = {}) =>
      abortable(signal, async () => (await call("GET", "/limits", { signal })).body),
  };
}

/**
 * Whatever an abort broke, the caller sees one kind of error for it.
 *
 * @template T
 * @param {AbortSignal | undefined} signal
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function abortable(signal, work) {
  try {
    signal?.throwIfAborted();
    return await work();
  } catch (error) {
    throw signal?.aborted ? aborted(signal.reason) : error;
  }
}
