import { UploadError } from "./errors.js";

// Browsers ask the operating system for a file's type, and some systems know few of these.
const TYPES = new Map(
  [
    "video/mp4 mp4 m4v",
    "video/quicktime mov",
    "video/webm webm",
    "video/x-msvideo avi",
    "video/x-matroska mkv",
    "audio/mpeg mp3",
    "audio/wav wav",
    "audio/x-m4a m4a",
    "audio/aac aac",
    "audio/flac flac",
    "audio/ogg ogg oga opus",
    "audio/x-ms-wma wma",
    "image/jpeg jpg jpeg",
    "image/png png",
    "image/webp webp",
  ].flatMap((line) => {
    const [type, ...extensions] = line.split(" ");
    return extensions.map((extension) => [extension, type]);
  }),
);

/**
 * The file's content type, by its extension where the browser does not know it.
 *
 * @param {Blob & { name?: string }} file
 * @returns {string}
 */
export function contentTypeOf(file) {
  if (file.type && file.type !== "application/octet-stream") return file.type;
  const known = TYPES.get(/[^.]*$/.exec(file.name ?? "")?.[0].toLowerCase() ?? "");
  if (known) return known;
  throw new UploadError(
    `It is unknown what kind of media ${file.name ?? "this"} is. Its name should end like .mp4, .wav or .png.`,
    { code: "unknown_content_type" },
  );
}
