import { createIdempotencyKey } from "./broker.js";
import { RefusedError, UploadError } from "./errors.js";
import { storageError } from "./failures.js";
import { checkRepeatedly, createIntegrityCheck } from "./integrity.js";
import { withLock } from "./locks.js";
import { fileNameOf, isSameFile, sanitize } from "./names.js";
import { putWithXhr } from "./transport.js";

// After a new sign-in such an upload can be resumed, so that a lost session loses no bytes.
const SIGNED_OUT_CODES = new Set(["token_failed", "unauthorized"]);

/**
 * @typedef {import("./transport.js").StorageTarget} StorageTarget
 * @typedef {import("./transport.js").StorageResponse} StorageResponse
 * @typedef {import("./index.js").Upload} Upload
 * @typedef {import("./index.js").RegisteredUpload} RegisteredUpload
 * @typedef {import("./retry.js").Pause} Pause
 * @typedef {Pick<Upload, "id" | "fileName" | "size">} BegunUpload
 *
 * @typedef {object} UploadContext What all uploads of one uploader share.
 * @property {(signal: AbortSignal | undefined) => Promise<() => void>} acquire Wait until this file may be sent.
 * @property {(upload: BegunUpload) => Promise<unknown>} cancel
 * @property {import("./network.js").Diagnose} diagnose
 * @property {import("./transport.js").Transport} put
 * @property {number} stallTimeout Seconds.
 */

/** Uploads one file: begins at the broker, sends the bytes to the storage, and completes at the broker. */
export class FileUpload {
  #file;
  #options;
  #broker;
  #context;
  #fileName;
  #check;
  /** @type {BegunUpload | undefined} */
  #upload;
  /** @type {StorageTarget | undefined} The target of the presign, until something is sent to it. */
  #unusedTarget;
  /** @type {{ uploadUrl: string, response: StorageResponse } | undefined} The URL that the storage refused last. */
  #refused;

  /**
   * @param {Blob} file
   * @param {import("./index.js").UploadOptions} options
   * @param {import("./broker.js").Broker} broker
   * @param {UploadContext} context
   */
  constructor(file, options, broker, context) {
    this.#file = file;
    this.#options = options;
    this.#broker = broker;
    this.#context = context;
    this.#fileName = fileNameOf(file);
    this.#check = createIntegrityCheck(file, this.#fileName, options.signal);
    this.#upload = options.resume;
  }

  /**
   * Upload the file, and return the upload with its asset.
   *
   * @returns {Promise<RegisteredUpload>}
   */
  async run() {
    const { signal, resume } = this.#options;
    this.#refuseUnusable();
    this.#report("waiting", 0);
    const release = await this.#context.acquire(signal);
    try {
      await this.#check();
      const upload = resume ?? (await this.#begin());
      return await withLock(upload.id, signal, () => this.#sendAndComplete(upload, release));
    } finally {
      release();
    }
  }

  /** Throw a RefusedError before any request if this file can't be uploaded here. */
  #refuseUnusable() {
    const { resume } = this.#options;
    if (!this.#file.size)
      throw new RefusedError(`"${this.#fileName}" is empty.`, { code: "file_empty" });
    if (resume && !isSameFile(this.#file, resume))
      throw new RefusedError(
        `"${this.#fileName}" is another file. Choose "${resume.fileName}" as it was.`,
        { code: "different_file" },
      );
    if (this.#context.put === putWithXhr && !globalThis.XMLHttpRequest)
      throw new RefusedError("Uploads need XMLHttpRequest.", { code: "no_xhr" });
  }

  /**
   * Begin an upload at the broker, which presigns its URL.
   *
   * @returns {Promise<BegunUpload>}
   */
  async #begin() {
    const { name, type, projectId } = this.#options;
    /** @type {BegunUpload & StorageTarget} */
    const upload = await this.#broker.requestRepeatedly("/uploads", {
      method: "POST",
      body: {
        fileName: this.#fileName,
        contentType: this.#file.type,
        size: this.#file.size,
        name: sanitize(name) || undefined,
        type,
        projectId,
      },
      idempotencyKey: createIdempotencyKey(),
      onPause: this.#reportWaiting,
    });
    this.#upload = upload;
    this.#unusedTarget = upload;
    return upload;
  }

  /**
   * Send the bytes, then wait until the asset is recorded.
   *
   * @param {BegunUpload} upload
   * @param {() => void} release Let the next file be sent.
   * @returns {Promise<RegisteredUpload>}
   */
  async #sendAndComplete(upload, release) {
    try {
      await this.#broker.retry(
        (ticket, failures) => this.#send(ticket, failures),
        this.#reportWaiting,
      );
      release();
      this.#report("finishing");
      const registered = await this.#broker.retry(
        () => this.#request("complete"),
        (pause) => this.#report("finishing", this.#file.size, pause),
      );
      this.#report("done");
      return registered;
    } catch (error) {
      // It has all fields of an upload, unless the app gave `resume` fewer.
      const begun = /** @type {Upload | undefined} */ (this.#upload);
      if (mayResume(error) && !this.#options.signal?.aborted) error.upload = begun;
      // If cancelling fails, the upload expires at the broker.
      else this.#context.cancel(upload).catch(() => {});
      throw error;
    }
  }

  /**
   * Send the bytes once, unless an earlier try has stored them.
   *
   * @param {string | undefined} ticket
   * @param {number} failures How often sending has failed before.
   */
  async #send(ticket, failures) {
    await this.#check();
    if (!this.#unusedTarget && (await this.#isStored())) return;
    const target = this.#unusedTarget ?? (await this.#renewTarget(ticket));
    this.#unusedTarget = undefined;
    await this.#put(target, failures);
  }

  /** Whether the storage has the bytes. It may have them although its response was lost. */
  async #isStored() {
    try {
      await this.#request("complete");
      return true;
    } catch (error) {
      if (!(error instanceof UploadError)) throw error;
      if (error.code === "file_not_uploaded") return false;
      // The broker has found the bytes, and has not recorded the asset yet.
      if (error.code === "still_registering") return true;
      throw error;
    }
  }

  /**
   * Return a target for another try. The broker returns the same URL while most of its time is left.
   *
   * @param {string | undefined} ticket
   * @returns {Promise<StorageTarget>}
   */
  async #renewTarget(ticket) {
    /** @type {BegunUpload & StorageTarget} */
    const renewed = await this.#request("renew", ticket);
    if (renewed.uploadUrl === this.#refused?.uploadUrl)
      throw storageError(this.#refused.response, this.#fileName, { retryable: false });
    this.#upload = renewed;
    return renewed;
  }

  /**
   * Send the bytes to the storage, and throw if it does not store them.
   *
   * @param {StorageTarget} target
   * @param {number} failures
   */
  async #put(target, failures) {
    let sent = 0;
    // A slow link may need longer than it did before to send what is buffered.
    const stallTimeout = this.#context.stallTimeout * (failures + 1);
    const response = await this.#putWatched(target, stallTimeout, (loaded) => {
      sent = loaded;
      this.#report("uploading", loaded);
    });
    await this.#check();
    if (response.status >= 200 && response.status < 300) return;
    if (response.status === 403) this.#refused = { uploadUrl: target.uploadUrl, response };
    // If some bytes were sent, the storage can be reached.
    const isUnreachable = !response.status && !sent;
    // The URL is a secret, so only its origin is shown.
    const { origin } = new URL(target.uploadUrl);
    throw storageError(response, this.#fileName, {
      hint: isUnreachable ? this.#context.diagnose("storage", "CORS rules", origin) : undefined,
    });
  }

  /**
   * Send the bytes, and give up early if the file changes: Firefox waits for ever for the bytes of a file that has
   * become shorter.
   *
   * @param {StorageTarget} target
   * @param {number} stallTimeout
   * @param {(loaded: number) => void} onProgress
   */
  async #putWatched(target, stallTimeout, onProgress) {
    const controller = new AbortController();
    const { signal } = controller;
    this.#options.signal?.addEventListener("abort", () => controller.abort(), { signal });
    // XMLHttpRequest would send the file's type if the target's headers have none. A slice has no type.
    const body = this.#file.slice();
    try {
      return await Promise.race([
        this.#context.put(target, body, { stallTimeout, signal, onProgress }),
        checkRepeatedly(this.#check, signal),
      ]);
    } finally {
      controller.abort();
    }
  }

  /**
   * @param {"complete" | "renew"} action
   * @param {string} [ticket]
   */
  #request(action, ticket) {
    return this.#broker.request(`/uploads/${this.#upload?.id}/${action}`, {
      method: "POST",
      ticket,
    });
  }

  /** @param {Pause} pause */
  #reportWaiting = (pause) => this.#report("waiting", 0, pause);

  /**
   * Report a phase. The percentage reaches 100 only when the asset is recorded, which may be long after the last byte.
   *
   * @param {import("./index.js").Phase} phase
   * @param {number} [loaded] All bytes by default.
   * @param {Pause} [pause]
   */
  #report(phase, loaded = this.#file.size, pause) {
    const total = this.#file.size;
    const sent = Math.floor((100 * loaded) / total);
    this.#options.onProgress?.({
      id: this.#upload?.id,
      percentage: phase === "done" ? 100 : Math.min(99, sent),
      loaded,
      phase,
      total,
      ...pause,
    });
  }
}

/**
 * Whether the upload can be resumed after this error.
 *
 * @param {unknown} error
 * @returns {error is UploadError}
 */
const mayResume = (error) =>
  error instanceof UploadError && (error.retryable || SIGNED_OUT_CODES.has(error.code));
