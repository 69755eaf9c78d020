// More code points than the 255 that the broker takes; the last 40 stay, the extension among them.
const TOO_LONG = /^(.{214}).{2,}(.{40})$/su;

// Controls, line separators, halves of characters, and the invisible marks that turn the direction of text, by which a
// name could look like another one: the broker refuses them.
const UNWANTED = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
const SEPARATOR = /[/\\]/g;

/**
 * Returns the text as the broker takes it: without unwanted characters, and shortened in the middle.
 *
 * @param {string} [text]
 */
export const tidy = (text = "") => text.replace(UNWANTED, "").replace(TOO_LONG, "$1…$2");

/** @param {string} name */
const tidyFileName = (name) => tidy(name.replace(SEPARATOR, "_"));

/**
 * Returns the file's name as the broker takes it. A Blob has none: the broker goes by its type, or by the extension
 * where the type does not say whether it is audio or video.
 *
 * @param {Blob & { name?: string }} file
 */
export function fileNameOf({ name = "", type }) {
  const extension = type.match(/^application\/(ogg|mp4)/)?.[1];
  return tidyFileName(name) || (extension ? `upload.${extension}` : "upload");
}

/** @type {typeof import("./index.js").isSameFile} */
export const isSameFile = (file, { fileName, size }) =>
  size === file.size && tidyFileName(/** @type {string} */ (fileName)) === fileNameOf(file);
