// The type checker reads this app that uses the plugin. It is never run.
import Uppy from "@uppy/core";
import { createUploader } from "../../client/index.js";
import { SyncUpload, type SyncUploadBody } from "../../client/uppy/index.js";

const uploader = createUploader({ endpoint: "https://uploads-api.example.com", getToken: "token" });

export const uppy = new Uppy<Record<string, unknown>, SyncUploadBody>().use(SyncUpload, {
  uploader,
  labels: ({ meta }) => ({ name: meta.name, type: "VIDEO", projectId: "project-1" }),
});

uppy.on("upload-success", (_file, { body }) => {
  const id: string | undefined = body?.asset.id;
  console.log(id);
});

export function misuse(): void {
  // @ts-expect-error The uploader is required.
  new Uppy().use(SyncUpload, {});
  // @ts-expect-error These are the three types, in capitals.
  new Uppy().use(SyncUpload, { uploader, labels: () => ({ type: "video" }) });
}
