import { request } from "node:http";

/** Send the file in two pieces with Node's own HTTP, since Node has no XMLHttpRequest, and report each piece. */
export const putWithNode = async (target, file, { signal, onProgress }) => {
  onProgress(0);
  const bytes = Buffer.from(await file.arrayBuffer());
  return new Promise((resolve) => {
    const outgoing = request(target.uploadUrl, {
      method: target.method,
      headers: { ...target.headers, "Content-Length": bytes.length },
      signal,
    });
    outgoing.on("error", () => resolve({ status: 0, responseText: "" }));
    outgoing.on("response", async (incoming) => {
      const chunks = await incoming.toArray();
      resolve({ status: incoming.statusCode, responseText: Buffer.concat(chunks).toString() });
    });
    const half = Math.ceil(bytes.length / 2);
    outgoing.write(bytes.subarray(0, half), () => {
      onProgress(half);
      outgoing.end(bytes.subarray(half), () => onProgress(bytes.length));
    });
  });
};
