/**
 * Return the URL as a browser parses it, without spaces around it, or undefined if the text is no http or https URL.
 *
 * @param {string | URL | undefined} text
 */
export function parseWebUrl(text) {
  try {
    const url = new URL(text ?? "");
    return /^https?:$/.test(url.protocol) ? url : undefined;
  } catch {
    return undefined;
  }
}
