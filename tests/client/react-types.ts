// The type checker reads this app that uses the hook. It is never run.
import { createUploader } from "../../client/index.js";
import { useUpload } from "../../client/react/index.js";

const uploader = createUploader({ endpoint: "https://uploads-api.example.com", getToken: "token" });

export function useCover(file: File): string {
  const upload = useUpload({
    uploader,
    onSuccess: ({ asset }, cover) => console.log(asset.id, cover.size),
    onError: ({ code }) => console.log(code),
    onSettled: (data, error) => console.log(data?.asset.id, error?.code),
  });
  upload.mutate(file, { name: "Cover", type: "IMAGE" });
  const promised: Promise<string> = upload.mutateAsync(file).then(({ asset }) => asset.id);
  console.log(promised);
  if (upload.isSuccess) return upload.data.asset.id;
  if (upload.isError) return upload.error.message;
  if (upload.status === "pending") return `${upload.progress?.percentage ?? 0} %`;
  // @ts-expect-error An idle upload has no asset.
  return upload.data.asset.id;
}

export function useMisuse(): void {
  // @ts-expect-error The uploader is required.
  useUpload({});
  // @ts-expect-error It takes the file itself.
  useUpload({ uploader }).mutate({ path: "take.mp4" });
}
