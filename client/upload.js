import { within } from "./abort.js";
import { RefusedError } from "./errors.js";
import { storageFailure } from "./failures.js";
import { createIntactCheck } from "./intact.js";
import { locked } from "./locks.js";
import { fileNameOf, isSameFile, tidy } from "./names.js";
import { putWithXhr } from "./transport.js";

const CHECK_EVERY = 3; // seconds
const SIGNED_OUT = ["token_failed", "unauthorized"];

/**
 * @typedef {(phase: import("./index.js").Phase, loaded?: number, more?: object) => void} Report
 *
 * @callback UploadFile
 * @param {Blob} file
 * @param {import("./index.js").UploadOptions} options
 * @param {import("./broker.js").Call} call
 * @param {import("./retry.js").Retry} retry
 * @param {number} key The presign's.
 * @returns {Promise<import("./index.js").RegisteredUpload>}
 */

/**
 * One file's way: begun at the broker, sent to the storage, completed at the broker. All uploads of an uploader share
 * what it is made of.
 *
 * @param {import("./transport.js").Transport} put
 * @param {number} stallTimeout
 * @param {(signal: AbortSignal | undefined) => Promise<() => void>} takeTurn
 * @param {(upload: { id: string }) => Promise<unknown>} cancel
 * @param {import("./network.js").Diagnose} diagnose
 * @returns {UploadFile}
 */
export const uploading =
  (put, stallTimeout, takeTurn, cancel, diagnose) =>
  async (file, { signal, onProgress, resume, name, ...labels }, call, retry, key) => {
    const { size, type: contentType } = file;
    const fileName = fileNameOf(file);
    const checkIntact = createIntactCheck(file, fileName, signal);
    /** @type {any} What the broker answered to the presign, or an upload of an earlier page. */
    let target = resume;
    let mayHaveLanded = Boolean(resume);
    /** @type {{ status: number, responseText: string } | undefined} The storage's last. */
    let answer;

    /** @type {Report} Sent is not finished: 100 per cent are reached when the asset is recorded. */
    const report = (phase, loaded = size, more) =>
      onProgress?.({
        id: target?.id,
        percentage: phase === "done" ? 100 : Math.min(99, Math.floor((100 * loaded) / size)),
        loaded,
        phase,
        total: size,
        ...more,
      });

    const complete = () => call(`/uploads/${target.id}/complete`, "POST");

    /** Whether the bytes are there, as they may be though the storage's answer was lost. */
    const hasLanded = () =>
      complete().then(
        () => true,
        (error) => {
          // They are there, and only the asset is not recorded yet.
          if (error.status === 202) return true;
          if (error.code !== "file_not_uploaded") throw error;
        },
      );

    /**
     * Sends the bytes, and ends early if the file changes meanwhile: Firefox would wait for ever for the bytes of a
     * file that has become shorter.
     *
     * @param {number} stall
     * @param {(loaded: number) => void} onLoaded
     */
    const putIntact = async (stall, onLoaded) => {
      const end = new AbortController();
      signal?.addEventListener("abort", () => end.abort(), end);
      const watched = async () => {
        for (;;) {
          await within(CHECK_EVERY, end.signal);
          // Another program may hold the file for a moment, or the file is moved and comes back.
          await checkIntact().catch(() => within(CHECK_EVERY, end.signal).then(checkIntact));
        }
      };
      try {
        // A slice has no type of its own that could get into the request.
        return await Promise.race([
          put(target, file.slice(), stall, end.signal, onLoaded),
          watched(),
        ]);
      } finally {
        end.abort();
      }
    };

    /** @type {Parameters<import("./retry.js").Retry>[0]} */
    const send = async (ticket, tries) => {
      await checkIntact();
      if (mayHaveLanded) {
        if (await hasLanded()) return;
        // This gives the same URL while most of its time is left.
        const next = await call(`/uploads/${target.id}/renew`, "POST", null, ticket);
        if (answer?.status === 403 && next.uploadUrl === target.uploadUrl)
          throw storageFailure(answer, fileName, { retryable: false });
        target = next;
      }
      mayHaveLanded = true;
      let sent = 0;
      // A slow link may need longer than it seemed to get rid of what is buffered.
      answer = await putIntact(stallTimeout * (tries + 1), (loaded) => {
        sent = loaded;
        report("uploading", loaded);
      });
      await checkIntact();
      if (answer.status >= 200 && answer.status < 300) return;
      // Where some bytes went, there is a server.
      const isUnreachable = !answer.status && !sent;
      throw storageFailure(answer, fileName, {
        hint: isUnreachable
          ? diagnose("storage", "CORS rules", new URL(target.uploadUrl).origin)
          : undefined,
      });
    };

    /** @param {() => void} leave Lets the next file go. */
    const work = async (leave) => {
      try {
        await retry(send, report);
        leave();
        report("finishing");
        const done = await retry(complete, report, "finishing", size);
        report("done");
        return done;
      } catch (/** @type {any} */ error) {
        // Whoever signs in again can go on, so that a lost session loses no bytes.
        const mayGoOn = error.retryable || SIGNED_OUT.includes(error.code);
        if (mayGoOn && !signal?.aborted) error.upload = target;
        // If this fails, the upload expires at the broker.
        else cancel(target).catch(() => {});
        throw error;
      }
    };

    if (!size) throw new RefusedError(`"${fileName}" is empty.`, { code: "file_empty" });
    if (resume && !isSameFile(file, resume))
      throw new RefusedError(
        `"${fileName}" is another file. Choose "${resume.fileName}" as it was.`,
        { code: "different_file" },
      );
    if (put === putWithXhr && !globalThis.XMLHttpRequest)
      throw new RefusedError("Uploads need XMLHttpRequest.", {
        code: "no_xhr",
      });
    report("waiting", 0);
    const leave = await takeTurn(signal);
    try {
      await checkIntact();
      const facts = { ...labels, size, contentType, fileName, name: tidy(name) || undefined };
      target ??= await retry((ticket) => call("/uploads", "POST", facts, ticket, key), report);
      return await locked(target.id, signal, () => work(leave));
    } finally {
      leave();
    }
  };
