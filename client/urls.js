/**
 * Returns the URL as a browser reads it, without spaces around it; nothing if the text is no full URL of the web.
 *
 * @param {string | URL} text
 */
export function parseWebUrl(text) {
  try {
    const url = new URL(text);
    if (/^https?:/.test(url.href)) return url;
  } catch {
    // It is no URL at all.
  }
}
