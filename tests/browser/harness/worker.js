import { createUploader } from "/client/index.js";

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
    postMessage({ asset: asset.id, phases: [...new Set(phases)] });
  } catch (error) {
    postMessage({ error: error.message });
  }
});
