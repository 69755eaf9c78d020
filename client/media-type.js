import { RefusedError } from "./errors.js";

// Browsers ask the operating system for a file's type, and some systems know few of these.
const TYPES =
  "video/ mkv=x-matroska m4v=mp4 webm avi=x-msvideo mov=quicktime mp4 image/ webp png jpeg jpg=jpeg " +
  "audio/ mp3=mpeg aac ogg flac oga=ogg wav opus=ogg wma=x-ms-wma m4a=x-m4a";

/**
 * The file's content type, by its extension where the browser does not know it.
 *
 * @param {Blob & { name?: string }} file
 * @returns {string}
 */
export function contentTypeOf({ type, name = "" }) {
  if (!/^$|octet/.test(type)) return type;
  const extension = name.toLowerCase().match(/\.(\w+)$/)?.[1];
  /** @type {any} */
  const known = TYPES.match(`(\\w+/)[^/]* ${extension}\\b=?([^ /]*)( |$)`);
  if (known) return known[1] + (known[2] || extension);
  throw new RefusedError(`${name} is of unknown type.`, {
    code: "unknown_content_type",
  });
}
