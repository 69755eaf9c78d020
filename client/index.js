export {
  AbortError,
  ExpiredError,
  LineError,
  NetworkError,
  RefusedError,
  UploadError,
} from "./errors.js";

export { createUploader } from "./uploader.js";
