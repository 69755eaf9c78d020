/**
 * @typedef {object} Put
 * @property {string} url
 * @property {string} method
 * @property {Record<string, string>} headers
 * @property {Blob} body
 * @property {AbortSignal} [signal]
 * @property {(loaded: number) => void} onProgress
 *
 * @typedef {(put: Put) => Promise<{ status: number, text: string }>} Transport
 */

/**
 * Sends the file. XMLHttpRequest, because fetch tells nothing about the progress of a request.
 *
 * @type {Transport}
 */
export const putWithXhr = ({ url, method, headers, body, signal, onProgress }) =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    signal?.addEventListener("abort", abort);
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onloadend = () => {
      signal?.removeEventListener("abort", abort);
      // A lost connection ends like an answer, with the status 0.
      if (signal?.aborted) reject(signal.reason);
      else resolve({ status: request.status, text: request.responseText });
    };
    request.send(body);
  });
