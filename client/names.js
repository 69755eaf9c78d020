// The broker takes 255 code points. A longer text keeps its last 40, which include the extension.
const TOO_LONG = /^(.{214}).{2,}(.{40})$/su;

// The broker refuses control characters, line separators, lone surrogates, and the invisible marks that change the
// direction of text, by which one name can look like another.
const UNWANTED = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
const SEPARATOR = /[/\\]/g;

/**
 * Return the text as the broker accepts it: without unwanted characters, and shortened in the middle.
 *
 * @param {string} [text]
 */
export const sanitize = (text = "") => text.replace(UNWANTED, "").replace(TOO_LONG, "$1…$2");

/** @param {string} name */
const sanitizeFileName = (name) => sanitize(name.replace(SEPARATOR, "_"));

/**
 * Return the file's name as the broker accepts it.
 *
 * A Blob has no name, and the broker decides by the type. Two types are used for audio and for video, so the name of
 * such a Blob has their extension.
 *
 * @param {Blob & { name?: string }} file
 */
export function fileNameOf({ name = "", type }) {
  const extension = type.match(/^application\/(ogg|mp4)/)?.[1];
  return sanitizeFileName(name) || (extension ? `upload.${extension}` : "upload");
}

/** @type {typeof import("./index.js").isSameFile} */
export const isSameFile = (file, { fileName, size }) =>
  size === file.size && sanitizeFileName(fileName ?? "") === fileNameOf(file);
