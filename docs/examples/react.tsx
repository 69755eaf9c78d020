// An upload in React: progress, cancel, another try, and the asset's id.
import { type Asset, createUploader } from "sync-upload-broker-client";
import { useUpload } from "sync-upload-broker-client/react";

const uploader = createUploader({
  endpoint: import.meta.env.VITE_BROKER,
  getToken: async ({ signal }) => {
    const response = await fetch("/token", { signal });
    if (!response.ok) throw new Error(`No token: ${response.status}`);
    return response.text();
  },
});

export function Upload({ onAsset }: { onAsset?: (asset: Asset) => void }) {
  const upload = useUpload({ uploader, onSuccess: ({ asset }) => onAsset?.(asset) });

  // This resumes the upload that failed if it can be resumed, and begins a new one otherwise.
  const tryAgain = () => {
    if (upload.isError) upload.mutate(upload.variables, { resume: upload.error.upload });
  };

  return (
    <section>
      <input
        type="file"
        accept="video/*,audio/*"
        aria-label="Media"
        disabled={upload.isPending}
        onChange={({ target }) => target.files?.[0] && upload.mutate(target.files[0])}
      />
      {upload.isPending && (
        <>
          <progress max="100" value={upload.progress?.percentage ?? 0} />
          <button type="button" onClick={() => upload.abort()}>
            Cancel
          </button>
        </>
      )}
      {upload.isError && (
        <p role="alert">
          {upload.error.message}{" "}
          <button type="button" onClick={tryAgain}>
            Try again
          </button>
        </p>
      )}
      {upload.isSuccess && <output>{upload.data.asset.id}</output>}
    </section>
  );
}
