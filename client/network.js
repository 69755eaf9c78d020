/** @typedef {ReturnType<typeof createDiagnosis>} Diagnose */

/** Whether the browser reports that it is offline. Node reports nothing. */
export const isOffline = () => globalThis.navigator?.onLine === false;

/**
 * Return a function that explains to developers why a server can't be reached, and writes that to the console once for
 * each URL. While the browser is offline the reason is known, so it returns nothing.
 */
export function createDiagnosis() {
  /** @type {Set<string>} */
  const reported = new Set();

  /**
   * @param {string} server
   * @param {string} setting The server's setting that has to list the page's origin.
   * @param {string} url
   * @returns {string | undefined}
   */
  return function diagnose(server, setting, url) {
    if (isOffline()) return undefined;
    const origin = globalThis.origin ?? "this program";
    const hint =
      `Can't reach the ${server} at ${url}. Is it running? Is ${origin} in its ${setting}? ` +
      "Does the page's CSP list it in connect-src?";
    if (!reported.has(url)) console.warn(hint);
    reported.add(url);
    return hint;
  };
}
