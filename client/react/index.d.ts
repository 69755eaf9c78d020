import type { Progress, RegisteredUpload, UploadError, Uploader, UploadOptions } from "../index.js";

export interface UseUploadOptions {
  uploader: Uploader;
  /** These are called even if the component is gone meanwhile. An abort calls only `onSettled`. */
  onSuccess?: ((data: RegisteredUpload, file: Blob) => void) | undefined;
  onError?: ((error: UploadError, file: Blob) => void) | undefined;
  onSettled?:
    | ((data: RegisteredUpload | undefined, error: UploadError | null, file: Blob) => void)
    | undefined;
}

export type Mutate<Result> = (file: Blob, options?: UploadOptions) => Result;

interface State {
  isIdle: boolean;
  isPending: boolean;
  isSuccess: boolean;
  isError: boolean;
  /** The file that was given to `mutate`. */
  variables: Blob | undefined;
  data: RegisteredUpload | undefined;
  error: UploadError | null;
  /** The last that was told of the upload. */
  progress: Progress | undefined;
}

interface Idle extends State {
  status: "idle";
  isIdle: true;
  isPending: false;
  isSuccess: false;
  isError: false;
  variables: undefined;
  data: undefined;
  error: null;
  progress: undefined;
}

interface Pending extends State {
  status: "pending";
  isIdle: false;
  isPending: true;
  isSuccess: false;
  isError: false;
  variables: Blob;
  data: undefined;
  error: null;
}

interface Success extends State {
  status: "success";
  isIdle: false;
  isPending: false;
  isSuccess: true;
  isError: false;
  variables: Blob;
  data: RegisteredUpload;
  error: null;
}

interface Failure extends State {
  status: "error";
  isIdle: false;
  isPending: false;
  isSuccess: false;
  isError: true;
  variables: Blob;
  data: undefined;
  error: UploadError;
}

/** What a component shows: after a second `mutate`, the second upload. */
export type UploadState = Idle | Pending | Success | Failure;

export type UseUploadResult = UploadState & {
  /** Uploads the file; how it ends is told by the state and the callbacks. */
  mutate: Mutate<void>;
  /** Uploads the file, and settles with it. */
  mutateAsync: Mutate<Promise<RegisteredUpload>>;
  /** Stops whatever this hook has begun; it is idle again, and `mutateAsync` rejects with an `AbortError`. */
  abort: (reason?: unknown) => void;
  /** Forgets what is shown. What runs goes on; it also does when the component goes. */
  reset: () => void;
};

/** One upload at a time, in the words of TanStack Query's `useMutation`. */
export declare function useUpload(options: UseUploadOptions): UseUploadResult;
