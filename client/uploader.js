import { navigator, within } from "./abort.js";
import { connect } from "./broker.js";
import { AbortError, RefusedError, storageFailure } from "./errors.js";
import { contentTypeOf } from "./media-type.js";
import { retrying } from "./retry.js";

/**
 * @typedef {import("./broker.js").Call} Call
 * @typedef {import("./retry.js").Retry} Retry
 * @typedef {(phase: import("./index.js").Phase, loaded?: number, more?: object) => void} Report
 */

/**
 * @param {import("./transport.js").Transport} put
 * @param {import("./index.js").UploaderOptions} options
 * @returns {import("./index.js").Uploader}
 */
export function createUploaderWith(put, options) {
  let { concurrency: places = 3, patience = 300, stallTimeout = 30 } = options;
  /** @type {((value?: unknown) => void)[]} */
  const queue = [];
  /** @type {any} */
  let limits;

  /**
   * Whatever an abort broke, the caller sees one kind of error for it.
   *
   * @template T
   * @param {AbortSignal | undefined} signal
   * @param {(call: Call, retry: Retry, key: string) => Promise<T>} work Its key is for one request.
   * @returns {Promise<T>}
   */
  const run = async (signal, work) => {
    try {
      signal?.throwIfAborted();
      // Other than randomUUID, this works on a page without https too.
      const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
      return await work(connect(options, signal), retrying(patience, signal), key);
    } catch (error) {
      if (!signal?.aborted) throw error;
      throw new AbortError("Aborted.", { code: "aborted", cause: signal.reason });
    }
  };

  return {
    upload: (file, { resume, signal, onProgress, ...labels } = {}) =>
      run(signal, async (call, retry, key) => {
        const { size, name: fileName = "upload" } = /** @type {File} */ (file);

        /** @type {Report} Sent is not finished: 100 per cent are reached when the asset is recorded. */
        const report = (phase, loaded = size, more) =>
          onProgress?.({
            loaded,
            total: size,
            percentage: phase === "done" ? 100 : Math.min(99, ((100 * loaded) / size) | 0),
            phase,
            ...more,
          });

        const begin = async () => {
          const contentType = contentTypeOf(file);
          // What can't be had now is no obstacle: the broker itself refuses too.
          limits ??= await call("GET /limits").catch(() => {});
          if (limits) {
            const { maxUploadBytes, contentTypes } = limits;
            // What this lets through by mistake, the broker refuses.
            const accepted = contentTypes.join("|").replace(/[*+.]/g, ".*");
            const fits = size <= maxUploadBytes;
            if (!fits || !contentType.match(accepted)) {
              // They may be wider another time.
              limits = null;
              throw new RefusedError(
                `Accepted are ${contentTypes} of at most ${maxUploadBytes} bytes.`,
                { code: fits ? "content_type_not_accepted" : "file_too_large" },
              );
            }
          }
          const body = { fileName, contentType, size, ...labels };
          return retry((ticket) => call("POST /uploads", body, ticket, key), report);
        };

        /** @type {any} What the broker answered to the presign, or an upload of an earlier page. */
        let target = resume;
        /** @type {any} */
        let refusal;
        const complete = () => call(`POST /uploads/${target.id}/complete`);

        /** @type {Parameters<Retry>[0]} */
        const send = async (ticket, tries) => {
          if (isUsed) {
            // The bytes may have landed though the answer was lost.
            const isThere = await complete().catch((error) => {
              if (error.code !== "file_not_uploaded") throw error;
            });
            if (isThere) return;
            // This gives the same address while most of its time is left.
            const next = await call(`POST /uploads/${target.id}/renew`, undefined, ticket);
            if (refusal && next.uploadUrl === target.uploadUrl) {
              refusal.retryable = false;
              throw refusal;
            }
            target = next;
            refusal = null;
          }
          isUsed = true;
          // A slow link may need longer than it seemed to get rid of what is buffered.
          const stall = stallTimeout * (tries + 1);
          const { status, responseText } = await put(target, file, stall, signal, (loaded) =>
            report("uploading", loaded),
          );
          if (status > 199 && status < 300) return;
          const error = storageFailure(status, responseText);
          if (status === 403) {
            // The broker can give another address.
            refusal = error;
            refusal.retryable = true;
          }
          throw error;
        };

        const work = async () => {
          try {
            await retry(send, report);
            leave();
            report("finishing");
            const done = await retry(complete, report, "finishing", size);
            report("done");
            return done;
          } catch (/** @type {any} */ error) {
            // Best effort: what stays behind expires at the broker.
            if (signal?.aborted || !error.retryable)
              connect(options)(`DELETE /uploads/${target.id}`).catch(() => {});
            throw error;
          }
        };

        report("waiting", 0);
        /** @type {any} */
        let isUsed = resume;
        if (resume && (resume.size !== size || resume.fileName !== fileName))
          throw new RefusedError(`This is not ${resume.fileName}.`, { code: "different_file" });
        // All are woken, in their order, since the first of them may have given up meanwhile.
        while (!places) await within(60, signal, new Promise((wake) => queue.push(wake)));
        places--;
        let mine = 1;
        const leave = () => {
          places += mine;
          mine = 0;
          for (const wake of queue.splice(0)) wake();
        };
        try {
          target ??= await begin();
          // Other tabs see by the lock that the upload is being worked on. Node has no locks, nor has
          // a page without https.
          return await (navigator.locks?.request(target.id, { signal }, work) ?? work());
        } finally {
          leave();
        }
      }),

    pending: ({ signal } = {}) =>
      run(signal, async (call, retry) => {
        const { items } = await retry(() => call("GET /uploads?limit=100"));
        // Asked after the list, so that what another tab has ended meanwhile is not taken up.
        const locks = await navigator.locks?.query();
        return Promise.all(
          items
            .filter(
              (/** @type {any} */ { id, status }) =>
                /ing$/.test(status) && !locks?.held?.some(({ name }) => name === id),
            )
            .map((/** @type {any} */ one) =>
              call(`POST /uploads/${one.id}/complete`).catch(() => one),
            ),
        );
      }),

    registerUrl: ({ signal, ...body }) =>
      run(signal, (call, retry, key) => retry(() => call("POST /assets", body, "", key))),

    assets: ({ signal, ...query } = {}) =>
      run(signal, (call) =>
        // As JSON, what is undefined is left out.
        call(`GET /assets?${new URLSearchParams(JSON.parse(JSON.stringify(query)))}`),
      ),

    limits: ({ signal } = {}) => run(signal, (call) => call("GET /limits")),
  };
}
