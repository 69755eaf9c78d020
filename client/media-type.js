import { RefusedError } from "./errors.js";

// Browsers ask the operating system for a file's type, and some systems know few of these.
const TYPES =
  "video/ mp4 m4v=mp4 mov=quicktime webm avi=x-msvideo mkv=x-matroska audio/ mp3=mpeg wav m4a=x-m4a " +
  "aac flac ogg oga=ogg opus=ogg wma=x-ms-wma image/ jpg=jpeg jpeg png webp";

/**
 * The file's content type, by its extension where the browser does not know it.
 *
 * @param {Blob & { name?: string }} file
 * @returns {string}
 */
export function contentTypeOf({ type, name = "" }) {
  if (!/^$|octet/.test(type)) return type;
  const extension = name.toLowerCase().match(/\.(\w+)$/)?.[1];
  const known = TYPES.match(`(\\w+/)[^/]* ${extension}\\b=?([^ /]*)( |$)`);
  if (known) return `${known[1]}${known[2] || extension}`;
  throw new RefusedError(`${name} is of unknown type.`, {
    code: "unknown_content_type",
  });
}
