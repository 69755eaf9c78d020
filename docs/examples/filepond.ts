// FilePond uploads through the broker: its form gets the asset's id as the field's value.
import { create, type ProcessServerConfigFunction } from "filepond";
import { AbortError, createUploader, type Upload, UploadError } from "sync-upload-broker-client";
import "filepond/dist/filepond.min.css";

const uploader = createUploader({
  endpoint: import.meta.env.VITE_BROKER,
  getToken: async ({ signal }) => {
    const response = await fetch("/token", { signal });
    if (!response.ok) throw new Error(`No token: ${response.status}`);
    return response.text();
  },
});

// The upload that was begun for a file that failed, so that another try resumes it.
const begun = new WeakMap<Blob, Upload>();

const process: ProcessServerConfigFunction = (
  _field,
  file,
  _metadata,
  load,
  fail,
  progress,
  aborted,
) => {
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
        if (error instanceof AbortError) return;
        if (error instanceof UploadError && error.upload) begun.set(file, error.upload);
        else begun.delete(file);
        fail(error.message);
      },
    );
  return {
    abort() {
      controller.abort();
      aborted();
    },
  };
};

export const pond = create(document.querySelector("input[type=file]") as Element, {
  name: "asset",
  // The broker deletes no asset, so that "undo" only empties the field.
  server: { process, revert: (_assetId, load) => load() },
  labelFileProcessingError: ({ body }) => body,
});
