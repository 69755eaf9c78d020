export {
  AbortError,
  ExpiredError,
  NetworkError,
  RateLimitError,
  RefusedError,
  UploadError,
} from "./errors.js";

export { isSameFile } from "./names.js";
export { createUploader } from "./uploader.js";
