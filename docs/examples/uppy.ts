// Uppy's Dashboard uploads through the broker: progress, cancel, retry, and the asset's id.
import Uppy, { type Meta } from "@uppy/core";
import Dashboard from "@uppy/dashboard";
import { createUploader } from "sync-upload-broker-client";
import { SyncUpload, type SyncUploadBody } from "sync-upload-broker-client/uppy";
import "@uppy/core/css/style.min.css";
import "@uppy/dashboard/css/style.min.css";

const uploader = createUploader({
  endpoint: import.meta.env.VITE_BROKER,
  getToken: async ({ signal }) => {
    const response = await fetch("/token", { signal });
    if (!response.ok) throw new Error(`No token: ${response.status}`);
    return response.text();
  },
});

const restrictions = { allowedFileTypes: ["video/*", "audio/*"] };

export const uppy = new Uppy<Meta, SyncUploadBody>({ restrictions })
  .use(Dashboard, { target: "#app", inline: true })
  .use(SyncUpload, { uploader });

uppy.on("upload-success", (file, { body }) => {
  console.log(`${file?.name} is asset ${body?.asset.id}`);
});
