import { BasePlugin } from "@uppy/core";
import { AbortError, RefusedError } from "../index.js";

/** @typedef {import("@uppy/core").UppyFile<any, any>} UppyFile */

/** @extends {BasePlugin<import("./index.js").SyncUploadOptions<any, any>, any, any>} */
export class SyncUpload extends BasePlugin {
  /** @type {Map<string, AbortController>} What is being uploaded, by the file's id. */
  #running = new Map();

  /**
   * @param {import("@uppy/core").Uppy<any, any>} uppy
   * @param {import("./index.js").SyncUploadOptions<any, any>} options
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
    // Uppy hands over what is there already once more when other files are retried.
    const files = this.uppy
      .getFilesByIds(ids)
      .filter(({ error, progress }) => !error && !progress.uploadComplete);
    this.uppy.emit("upload-start", files);
    await Promise.all(files.map(this.#upload));
  };

  /**
   * Remembers at the file what the broker has begun for it, or nothing more. Golden Retriever keeps it over
   * a reload, with the file itself.
   *
   * @param {string} fileId
   * @param {import("../index.js").UploadOptions["resume"]} [syncUpload]
   */
  #remember(fileId, syncUpload) {
    // It may have been removed.
    if (this.uppy.getFile(fileId)) this.uppy.setFileState(fileId, { syncUpload });
  }

  #upload = async (/** @type {UppyFile & { syncUpload?: any }} */ file) => {
    const { uploader, labels = ({ meta }) => ({ name: meta.name }) } = this.opts;
    const controller = new AbortController();
    this.#running.set(file.id, controller);
    /** @type {string | undefined} */
    let known;
    try {
      const content = contentOf(file);
      const { name: fileName, size } = content;
      const upload = await uploader.upload(content, {
        ...labels(file),
        signal: controller.signal,
        // What an earlier try had begun, or an earlier page.
        resume: file.syncUpload,
        onProgress: ({ loaded, total, id }) => {
          if (id && id !== known) this.#remember(file.id, { id, fileName, size });
          known = id;
          this.uppy.emit("upload-progress", file, {
            uploadStarted: file.progress.uploadStarted ?? Date.now(),
            // Uppy takes all bytes for the end, yet the asset is not recorded before "upload-success".
            bytesUploaded: Math.min(loaded, Math.floor(total * 0.99)),
            bytesTotal: total,
          });
        },
      });
      const { url } = upload.asset;
      this.uppy.emit("upload-success", file, {
        status: 200,
        body: upload,
        ...(url && { uploadURL: url }),
      });
    } catch (/** @type {any} */ error) {
      // What can't go on is begun anew by another try.
      if (!error.upload) this.#remember(file.id);
      if (!(error instanceof AbortError))
        this.uppy.emit("upload-error", file, error, { status: error.status ?? 0 });
    } finally {
      this.#running.delete(file.id);
    }
  };
}

/**
 * The file under the name that Uppy knows, which a Blob has not.
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
  // This refers to the bytes, and copies none.
  return new File([data], name, { type: data.type || type });
}
