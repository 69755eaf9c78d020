// Uploads a file that the page hands over, in a worker or in a frame, and tells the page how it went.
import { createUploader } from "/client/index.js";

// A frame hears its own messages, and a worker has no parent.
const reply = (answer) =>
  globalThis.parent ? parent.postMessage(answer, "*") : postMessage(answer);

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
