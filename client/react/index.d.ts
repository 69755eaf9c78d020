import type { Progress, RegisteredUpload, UploadError, Uploader, UploadOptions } from "../index.js";

export interface UseUploadOptions {
  uploader: Uploader;
  /** The callbacks are called even if the component has been unmounted. An abort calls only `onSettled`. */
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
  /** The file that was passed to `mutate`. */
  variables: Blob | undefined;
  data: RegisteredUpload | undefined;
  error: UploadError | null;
  /** The last progress of the upload. */
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

/** The state that a component shows: after a second `mutate`, that of the second upload. */
export type UploadState = Idle | Pending | Success | Failure;

export type UseUploadResult = UploadState & {
  /** Upload the file. The state and the callbacks report the result. */
  mutate: Mutate<void>;
  /** Upload the file, and return a promise of the result. */
  mutateAsync: Mutate<Promise<RegisteredUpload>>;
  /** Abort all uploads of this hook. Its state is idle again, and `mutateAsync` rejects with an `AbortError`. */
  abort: (reason?: unknown) => void;
  /** Return the state to idle. A running upload continues, as it does when the component is unmounted. */
  reset: () => void;
};

/** Upload files and show one upload at a time, with the names of TanStack Query's `useMutation`. */
export declare function useUpload(options: UseUploadOptions): UseUploadResult;
