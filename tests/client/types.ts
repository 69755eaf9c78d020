// Never run: the type checker reads it, as it would read an app that uses the client.
import { type Asset, createUploader, type Progress, UploadError } from "../../client/index.js";

const uploader = createUploader({
  endpoint: "https://uploads.example.com",
  getToken: async ({ signal }) => (await fetch("/token", { signal: signal ?? null })).text(),
});

export async function send(file: File, signal: AbortSignal): Promise<Asset | string> {
  const onProgress = ({ percentage, phase }: Progress) => console.log(phase, percentage);
  try {
    const { asset } = await uploader.upload(file, { name: "Take 1", signal, onProgress });
    return asset;
  } catch (error) {
    if (error instanceof UploadError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

export async function misuse(file: File): Promise<void> {
  // @ts-expect-error The endpoint is required.
  createUploader({ getToken: "token" });
  // @ts-expect-error These are the three types, in capitals.
  await uploader.upload(file, { type: "video" });
  // @ts-expect-error A public URL needs its type.
  await uploader.registerUrl({ url: "https://media.example/talk.mp4" });
}
