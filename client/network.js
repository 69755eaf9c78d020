/** @typedef {ReturnType<typeof createDiagnosis>} Diagnose */

/** Whether the browser says so; Node does not know. */
export const isOffline = () => globalThis.navigator?.onLine === false;

/**
 * Returns a function that explains a failed connection to a developer, and writes it to the console once for each
 * host; it returns nothing while the browser is offline, since then the reason is known.
 */
export function createDiagnosis() {
  /** @type {Set<string>} */
  const known = new Set();
  /**
   * @param {string} server
   * @param {string} rules What has to allow the page's origin.
   * @param {string} url
   * @returns {string | undefined}
   */
  return (server, rules, url) => {
    if (isOffline()) return;
    const hint =
      `Can't reach the ${server} at ${url}. Is it running? Is ${globalThis.origin ?? "this program"} in its ${rules}? ` +
      "Does the page's CSP list it in connect-src?";
    if (!known.has(url)) console.warn(hint);
    known.add(url);
    return hint;
  };
}
