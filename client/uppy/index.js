import { BasePlugin } from "@uppy/core";
import { AbortError, RefusedError } from "../index.js";

/**
 * @typedef {import("@uppy/core").Meta} Meta
 * @typedef {import("@uppy/core").Body} Body
 * @typedef {import("@uppy/core").UppyFile<Meta, Body>} UppyFile
 * @typedef {import("../index.js").UploadError} UploadError
 * @typedef {import("./index.js").SyncUploadOptions} SyncUploadOptions
 * @typedef {NonNullable<import("../index.js").UploadOptions["resume"]>} BegunUpload
 */

/** @extends {BasePlugin<SyncUploadOptions, Meta, Body>} */
export class SyncUpload extends BasePlugin {
  /** @type {Map<string, AbortController>} The controllers of running uploads, by the file's id. */
  #running = new Map();

  /**
   * @param {import("@uppy/core").Uppy<Meta, Body>} uppy
   * @param {SyncUploadOptions} options
   */
  constructor(uppy, options) {
    super(uppy, options);
    this.type = "uploader";
    this.id = options.id ?? "SyncUpload";
  }

  install() {
    this.uppy.addUploader(this.#uploadAll);
    // "Cancel all" removes each file too.
    this.uppy.on("file-removed", this.#abort);
  }

  uninstall() {
    this.uppy.removeUploader(this.#uploadAll);
    this.uppy.off("file-removed", this.#abort);
    for (const controller of this.#running.values()) controller.abort();
  }

  #abort = (/** @type {{ id: string }} */ { id }) => this.#running.get(id)?.abort();

  #uploadAll = async (/** @type {string[]} */ ids) => {
    // When files are retried, Uppy passes those that have been uploaded already once more.
    const files = this.uppy
      .getFilesByIds(ids)
      .filter(({ error, progress }) => !error && !progress.uploadComplete);
    this.uppy.emit("upload-start", files);
    await Promise.all(files.map(this.#upload));
  };

  /**
   * Store the upload that the broker has begun with the file, or forget it. Golden Retriever keeps it over a reload,
   * together with the file.
   *
   * @param {string} fileId
   * @param {BegunUpload} [syncUpload]
   */
  #remember(fileId, syncUpload) {
    // The user may have removed the file.
    if (this.uppy.getFile(fileId)) this.uppy.setFileState(fileId, { syncUpload });
  }

  /**
   * @param {UppyFile} file
   * @param {import("../index.js").Progress} progress
   */
  #reportProgress(file, { loaded, total }) {
    this.uppy.emit("upload-progress", file, {
      uploadStarted: file.progress.uploadStarted ?? Date.now(),
      // Uppy shows a file as complete when all bytes are sent, but its asset is recorded only at "upload-success".
      bytesUploaded: Math.min(loaded, Math.floor(total * 0.99)),
      bytesTotal: total,
    });
  }

  /**
   * Upload the file's content, and remember the upload as soon as the broker has begun it.
   *
   * @param {UppyFile & { syncUpload?: BegunUpload }} file
   * @param {AbortSignal} signal
   */
  #send(file, signal) {
    const { uploader, labels = ({ meta }) => ({ name: meta.name }) } = this.opts;
    const content = contentOf(file);
    const { name: fileName, size } = content;
    /** @type {string | undefined} */
    let knownId;
    return uploader.upload(content, {
      ...labels(file),
      signal,
      // An earlier try or an earlier page may have begun an upload.
      resume: file.syncUpload,
      onProgress: (progress) => {
        const { id } = progress;
        if (id && id !== knownId) this.#remember(file.id, { id, fileName, size });
        knownId = id;
        this.#reportProgress(file, progress);
      },
    });
  }

  #upload = async (/** @type {UppyFile} */ file) => {
    const controller = new AbortController();
    this.#running.set(file.id, controller);
    try {
      const upload = await this.#send(file, controller.signal);
      const { url } = upload.asset;
      this.uppy.emit("upload-success", file, {
        status: 200,
        body: upload,
        ...(url && { uploadURL: url }),
      });
    } catch (thrown) {
      const error = /** @type {UploadError} */ (thrown);
      // If the upload can't be resumed, another try begins a new one.
      if (!error.upload) this.#remember(file.id);
      if (!(error instanceof AbortError))
        this.uppy.emit("upload-error", file, error, { status: error.status ?? 0 });
    } finally {
      this.#running.delete(file.id);
    }
  };
}

/**
 * Return the file with the name that it has in Uppy, since a Blob has none.
 *
 * @param {UppyFile} file
 * @returns {File}
 */
function contentOf({ data, name, type, isRemote }) {
  if (isRemote || !(data instanceof Blob))
    throw new RefusedError(`"${name}" is not on this device. Save it here first, then choose it.`, {
      code: "not_a_local_file",
    });
  if (data instanceof File && data.name === name) return data;
  // The new file refers to the same bytes, and copies none.
  return new File([data], name, { type: data.type || type });
}
