// The type checker reads this app that uses the client. It is never run.
import {
  type Asset,
  createUploader,
  isSameFile,
  type Progress,
  RateLimitError,
  type Upload,
  UploadError,
  type Uploader,
} from "../../client/index.js";

const uploader = createUploader({
  endpoint: "https://uploads-api.example.com",
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

export async function resumeFirst(file: File): Promise<Upload | undefined> {
  const [left] = await uploader.pending();
  if (left?.status !== "pending") return left;
  const onProgress = ({ phase, wait, error }: Progress) => {
    const position: number | undefined =
      error instanceof RateLimitError ? error.position : undefined;
    console.log(phase, wait?.toFixed(), position, error?.retryAfter);
  };
  return uploader.upload(file, { resume: left, onProgress });
}

export async function tryAgain(file: File, signal?: AbortSignal): Promise<Asset> {
  let resume: Upload | undefined;
  for (;;) {
    try {
      return (await uploader.upload(file, { resume, signal, name: undefined })).asset;
    } catch (error) {
      if (!(error instanceof UploadError) || !error.retryable) throw error;
      resume = error.upload;
    }
  }
}

export async function describeAll(uploads: Upload[]): Promise<string[]> {
  const { presigns } = await uploader.limits();
  const words = [
    `${presigns.available} of ${presigns.perMinute}`,
    `${presigns.waiting}: ${presigns.waitSeconds} s`,
  ];
  for (const { sourceUrl, fileName, error } of uploads)
    words.push(sourceUrl ?? fileName ?? "", ...(error?.errors ?? []).map(({ pointer }) => pointer));
  return words;
}

export async function cancelAll(): Promise<void> {
  for (const left of await uploader.pending())
    if (left.status === "pending")
      await uploader.cancel(left, { signal: AbortSignal.timeout(5000) });
}

export const patient = createUploader({
  endpoint: "https://uploads-api.example.com",
  getToken: ({ refresh }) => (refresh ? "new" : "kept"),
  concurrency: 1,
  patience: 3600,
  stallTimeout: 10,
});

/** Clerk returns null for a user who is signed out, and Supabase has no session then. */
export const clerk = (session: { getToken(): Promise<string | null> }): Uploader =>
  createUploader({
    endpoint: new URL("https://uploads-api.example.com"),
    getToken: () => session.getToken(),
  });
export const supabase = (auth: {
  getSession(): Promise<{ data: { session: { access_token: string } | null } }>;
}): Uploader =>
  createUploader({
    endpoint: "https://uploads-api.example.com",
    getToken: async () => (await auth.getSession()).data.session?.access_token,
  });

/** Each status has its own fields. */
export function describe(upload: Upload): string {
  if (upload.status === "registered") return upload.asset.id;
  if (upload.status === "failed") return upload.error.detail;
  const nothing: null = upload.asset;
  return `${upload.status} ${nothing}`;
}

export function find(file: File, left: Upload[]): Upload | undefined {
  return left.find((upload) => upload.status === "pending" && isSameFile(file, upload));
}

export function explain({ hint, cause, code }: UploadError): string {
  return [code, hint ?? "", typeof cause].join(" ");
}

export async function misuse(file: File): Promise<void> {
  // @ts-expect-error The endpoint is required.
  createUploader({ getToken: "token" });
  // @ts-expect-error A token is a string.
  createUploader({ endpoint: "https://uploads-api.example.com", getToken: () => ({ token: "" }) });
  // @ts-expect-error These are the three types, in capitals.
  await uploader.upload(file, { type: "video" });
  // @ts-expect-error An id alone is not enough to resume an upload.
  await uploader.upload(file, { resume: "0123456789abcdef0123456789abcdef" });
  // @ts-expect-error An upload is cancelled, not a file.
  await uploader.cancel(file);
  // @ts-expect-error A public URL needs its type.
  await uploader.registerUrl({ url: "https://media.example/talk.mp4" });
}
