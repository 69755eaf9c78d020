// Browsers take a longer timer for one that is over at once.
const LONGEST_STALL = 2e9; // milliseconds

/**
 * Sends the file; resolves to the answer, whose status is 0 where the connection was lost or the
 * signal aborted.
 *
 * @callback Transport
 * @param {any} target Its `uploadUrl`, `method` and `headers`.
 * @param {Blob} body
 * @param {number} stall Seconds without any progress after which the connection counts as lost; 0 for any number.
 * @param {AbortSignal} signal Of this PUT alone.
 * @param {(loaded: number) => void} onProgress
 * @returns {Promise<{ status: number, responseText: string }>}
 */

/**
 * By XMLHttpRequest, because fetch tells nothing about the progress of a request.
 *
 * @type {Transport}
 */
export const putWithXhr = ({ method, uploadUrl, headers }, body, stall, signal, onProgress) =>
  new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    /** @type {ReturnType<typeof setTimeout>} */
    let timer;
    /** @param {number} loaded */
    const progress = (loaded) => {
      clearTimeout(timer);
      timer = setTimeout(abort, Math.min(1000 * stall || LONGEST_STALL, LONGEST_STALL));
      onProgress(loaded);
    };
    signal.onabort = abort;
    request.open(method, uploadUrl);
    for (const name in headers) request.setRequestHeader(name, headers[name]);
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onloadend = () => {
      clearTimeout(timer);
      signal.onabort = null;
      resolve(request);
    };
    request.send(body);
    progress(0);
  });
