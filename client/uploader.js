import { knownLocks, within } from "./abort.js";
import { connect } from "./broker.js";
import { AbortError, RefusedError, storageFailure } from "./errors.js";
import { contentTypeOf } from "./media-type.js";
import { retrying } from "./retry.js";
import { putWithXhr } from "./transport.js";

/**
 * @typedef {import("./broker.js").Call} Call
 * @typedef {import("./retry.js").Retry} Retry
 * @typedef {(phase: import("./index.js").Phase, loaded?: number, more?: object) => void} Report
 */

/**
 * @param {import("./index.js").UploaderOptions} options
 * @param {import("./transport.js").Transport} [put]
 * @returns {import("./index.js").Uploader}
 */
export function createUploader(options, put = putWithXhr) {
  const { stallTimeout = 30, concurrency = 3, patience = 300 } = options;
  /** @type {Set<Promise<unknown>>} Each settles when its file has been sent. */
  const sending = new Set();
  /** @type {any} */
  let limits;

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
      // Keys are each caller's own, for a day: they have to be unlike each other, but need not be secret.
      return await work(connect(options, signal), retrying(patience, signal), Math.random());
    } catch (error) {
      if (!signal?.aborted) throw error;
      throw new AbortError("Aborted.", { code: "aborted", cause: signal.reason });
    }
  };

  /** @type {import("./index.js").Uploader["cancel"]} */
  const cancel = ({ id }, { signal } = {}) =>
    run(signal, (call, retry) => retry(() => call(`/uploads/${id}`, "DELETE")));

  return {
    cancel,
    upload: (file, { signal, onProgress, resume, ...labels } = {}) =>
      run(signal, async (call, retry, key) => {
        const { size, name: fileName = "upload" } = /** @type {File} */ (file);

        /** @type {Report} Sent is not finished: 100 per cent are reached when the asset is recorded. */
        const report = (phase, loaded = size, more) =>
          onProgress?.({
            id: target?.id,
            percentage: phase === "done" ? 100 : Math.min(99, ((100 * loaded) / size) | 0),
            loaded,
            phase,
            total: size,
            ...more,
          });

        /** @type {any} What the broker answered to the presign, or an upload of an earlier page. */
        let target = resume;
        /** @type {any} Why the last PUT failed; anything at all, if there may have been one. */
        let failed = resume;
        const complete = () => call(`/uploads/${target.id}/complete`, "POST");

        /** @type {Parameters<Retry>[0]} */
        const send = async (ticket, tries) => {
          if (failed) {
            // The bytes may have landed though the answer was lost.
            try {
              return await complete();
            } catch (/** @type {any} */ error) {
              // They have landed, and only the asset is not recorded yet.
              if (error.status === 202) return;
              if (error.code !== "file_not_uploaded") throw error;
            }
            // This gives the same address while most of its time is left.
            const next = await call(`/uploads/${target.id}/renew`, "POST", null, ticket);
            if (failed.status === 403 && next.uploadUrl === target.uploadUrl) {
              failed.retryable = false;
              throw failed;
            }
            target = next;
          }
          // A file that changed or went away since it was chosen would fail as a lost connection does.
          await within(60, signal, file.slice(0, 1).arrayBuffer()).catch((cause) => {
            throw new RefusedError(`${fileName} is unreadable.`, {
              code: "file_unreadable",
              cause,
            });
          });
          // A slow link may need longer than it seemed to get rid of what is buffered.
          /** @type {any} */
          const { status, responseText } = await put(
            target,
            file,
            stallTimeout * (tries + 1),
            signal,
            (loaded) => report("uploading", loaded),
          );
          if (/^2/.test(status)) return;
          failed = storageFailure(status, responseText);
          throw failed;
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
            // Whoever signs in again can go on, so that a lost session loses no bytes.
            const mayGoOn = error.retryable || /token|unauth/.test(error.code);
            // Best effort: what stays behind expires at the broker.
            if (mayGoOn && !signal?.aborted) error.upload = target;
            else cancel(target).catch(() => {});
            throw error;
          }
        };

        report("waiting", 0);
        if (resume && (resume.size !== size || resume.fileName !== fileName))
          throw new RefusedError(`${fileName} is another file.`, { code: "different_file" });
        // Whoever waits is woken whenever a file has been sent, in the order in which they came. No
        // file would ever go if 0 were taken at its word.
        while (sending.size >= (concurrency || 1)) await within(1e6, signal, Promise.race(sending));
        /** @type {any} */
        let leave;
        const sent = new Promise((resolve) => {
          leave = () => resolve(sending.delete(sent));
        });
        sending.add(sent);
        try {
          if (!target) {
            const contentType = contentTypeOf(file);
            // What can't be had now is no obstacle: the broker itself refuses too.
            limits ??= await call("/limits").catch(() => {});
            if (limits) {
              const { maxUploadBytes, contentTypes } = limits;
              // What this lets through by mistake, the broker refuses.
              const accepted = contentTypes.join("|").replace(/[*+.]/g, ".*");
              const isTooLarge = size > maxUploadBytes;
              if (isTooLarge || !contentType.match(accepted)) {
                // They may be wider another time.
                limits = null;
                throw new RefusedError(
                  `Accepted are ${contentTypes} of at most ${maxUploadBytes} bytes. This is ${contentType} of ${size} bytes.`,
                  { code: isTooLarge ? "file_too_large" : "content_type_not_accepted" },
                );
              }
            }
            target = await retry(
              (ticket) =>
                call("/uploads", "POST", { size, contentType, fileName, ...labels }, ticket, key),
              report,
            );
          }
          // Other tabs see by the lock that the upload is being worked on.
          return await ((await knownLocks())
            ? navigator.locks.request(target.id, /** @type {any} */ ({ signal }), work)
            : work());
        } finally {
          leave();
        }
      }),

    pending: ({ signal } = {}) =>
      run(signal, async (call, retry) => {
        const { items } = await retry(() => call("/uploads?limit=100"));
        // Asked after the list, so that what another tab has ended meanwhile is not taken up.
        const locks = await knownLocks();
        return Promise.all(
          items
            .filter((/** @type {any} */ one) => /ing$/.test(one.status) && !locks.includes(one.id))
            .map((/** @type {any} */ one) =>
              call(`/uploads/${one.id}/complete`, "POST").catch(() =>
                retry(() => call(`/uploads/${one.id}`)),
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

    registerUrl: ({ signal, ...body }) =>
      run(signal, (call, retry, key) => retry(() => call("/assets", "POST", body, "", key))),
  };
}
