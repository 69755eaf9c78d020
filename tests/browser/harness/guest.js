// Uploads a file of the page in a worker or in a frame, and sends the page the outcome.
import { createUploader } from "/client/index.js";

// A frame must send the message to its parent, and a worker has no parent.
const reply = (message) =>
  globalThis.parent ? parent.postMessage(message, "*") : postMessage(message);

addEventListener("message", async ({ data: { search, file } }) => {
  const parameters = new URLSearchParams(search);
  const uploader = createUploader({
    endpoint: parameters.get("broker"),
    getToken: async () => (await (await fetch(parameters.get("token"))).json()).token,
  });
  const phases = [];
  try {
    const onProgress = ({ phase }) => phases.push(phase);
    const { asset } = await uploader.upload(file, { onProgress });
    const left = await uploader.pending();
    reply({ asset: asset.id, phases: [...new Set(phases)], left });
  } catch (error) {
    reply({ error: error.message });
  }
});
reply({ isReady: true });
