import { putWithXhr } from "./transport.js";
import { createUploaderWith } from "./uploader.js";

export {
  AbortError,
  ExpiredError,
  LineError,
  NetworkError,
  RefusedError,
  UploadError,
} from "./errors.js";

/** @type {typeof import("./index.js").createUploader} */
export const createUploader = (options) => createUploaderWith(putWithXhr, options);
