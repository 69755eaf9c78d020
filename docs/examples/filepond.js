// FilePond uploads through the broker: its form gets the asset's id as the field's value.
import { create } from "filepond";
import { createUploader } from "sync-upload-broker-client";
import "filepond/dist/filepond.min.css";

const uploader = createUploader({
  endpoint: import.meta.env.VITE_BROKER,
  getToken: async ({ signal }) => {
    const response = await fetch("/token", { signal });
    if (!response.ok) throw new Error(`No token: ${response.status}`);
    return response.text();
  },
});

// What was begun for a file that failed, so that another try goes on with it.
const begun = new WeakMap();

const server = {
  process(_field, file, _metadata, load, fail, progress, aborted) {
    const controller = new AbortController();
    uploader
      .upload(file, {
        resume: begun.get(file),
        signal: controller.signal,
        onProgress: ({ percentage }) => progress(true, percentage, 100),
      })
      .then(
        ({ asset }) => load(asset.id),
        (error) => {
          begun.set(file, error.upload);
          if (error.name !== "AbortError") fail(error.message);
        },
      );
    return {
      abort() {
        controller.abort();
        aborted();
      },
    };
  },
  // The broker deletes no asset, so that "undo" only empties the field.
  revert: (_assetId, load) => load(),
};

export const pond = create(document.querySelector("input[type=file]"), {
  name: "asset",
  server,
  labelFileProcessingError: ({ body }) => body,
});
