import { request } from "node:http";

/** The client's transport on Node, which has no XMLHttpRequest: sends in pieces and tells of each. */
export const putWithNode = async ({ url, method, headers, body, signal, onProgress }) => {
  const bytes = Buffer.from(await body.arrayBuffer());
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      method,
      headers: { ...headers, "Content-Length": bytes.length },
      signal,
    });
    outgoing.on("error", () =>
      signal?.aborted ? reject(signal.reason) : resolve({ status: 0, text: "" }),
    );
    outgoing.on("response", async (incoming) => {
      const chunks = await incoming.toArray();
      resolve({ status: incoming.statusCode, text: Buffer.concat(chunks).toString() });
    });
    const half = Math.ceil(bytes.length / 2);
    outgoing.write(bytes.subarray(0, half), () => {
      onProgress(half);
      outgoing.end(bytes.subarray(half), () => onProgress(bytes.length));
    });
  });
};
