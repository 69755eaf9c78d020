// A timer for more than 2^31 - 1 milliseconds fires at once in every browser.
const LONGEST_TIMER = 2e9; // milliseconds

/**
 * @typedef {object} StorageTarget Where and how the storage accepts the file.
 * @property {string} uploadUrl
 * @property {string} method
 * @property {Record<string, string>} headers
 *
 * @typedef {object} StorageResponse
 * @property {number} status 0 if the connection was lost or the signal aborted.
 * @property {string} responseText
 *
 * @typedef {object} TransportOptions
 * @property {number} stallTimeout Seconds without progress after which the connection counts as lost; 0 for no limit.
 * @property {AbortSignal} signal Of this request alone.
 * @property {(loaded: number) => void} onProgress
 *
 * @typedef {(target: StorageTarget, body: Blob, options: TransportOptions) => Promise<StorageResponse>} Transport
 */

/**
 * Send the file by XMLHttpRequest, since fetch reports no progress of a request.
 *
 * @type {Transport}
 */
export const putWithXhr = ({ method, uploadUrl, headers }, body, options) =>
  new Promise((resolve) => {
    const { stallTimeout, signal, onProgress } = options;
    const stallMilliseconds = Math.min(stallTimeout * 1000 || LONGEST_TIMER, LONGEST_TIMER);
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    /** @type {ReturnType<typeof setTimeout>} */
    let timer;
    /** @param {number} loaded */
    const progress = (loaded) => {
      clearTimeout(timer);
      timer = setTimeout(abort, stallMilliseconds);
      onProgress(loaded);
    };
    signal.onabort = abort;
    request.open(method, uploadUrl);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded }) => progress(loaded);
    request.onloadend = () => {
      clearTimeout(timer);
      // A later abort would erase the response.
      signal.onabort = null;
      resolve(request);
    };
    request.send(body);
    progress(0);
  });
