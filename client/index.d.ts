export interface UploaderOptions {
  /** The broker's full URL, such as `https://uploads-api.example.com`. */
  endpoint: string | URL;
  /**
   * The bearer token of your user, or a function that returns it or a promise of it. The function is called before each
   * request. If it returns `null`, `undefined` or an empty string, nobody is signed in, and the call fails with
   * `token_failed`.
   */
  getToken: string | ((context: TokenContext) => Token | Promise<Token>);
  /** How many files are sent at once, at least 1; 3 by default. The others wait in their order. */
  concurrency?: number | undefined;
  /**
   * Seconds; 300 by default. A step that fails is repeated until its pauses add up to more than this.
   * Two pauses do not count: until a moment that the rate limiter has reserved, and while the browser is offline.
   */
  patience?: number | undefined;
  /** Seconds without progress after which a connection counts as lost, 0 for no limit; 30 by default. */
  stallTimeout?: number | undefined;
}

type Token = string | null | undefined;

export interface TokenContext {
  signal?: AbortSignal | undefined;
  /** Whether the broker has just refused a token, so that a cached one must not be returned again. */
  refresh: boolean;
}

/** Create an uploader. Throw a `TypeError` that says what to pass if an option is missing or wrong. */
export declare function createUploader(options: UploaderOptions): Uploader;

/** Whether the file has the name and size of the upload's file. `upload` refuses to resume with any other file. */
export declare function isSameFile(file: Blob, upload: Pick<Upload, "fileName" | "size">): boolean;

export interface Uploader {
  /** Upload a file and register it as an asset. */
  upload(file: Blob, options?: UploadOptions): Promise<RegisteredUpload>;
  /**
   * Find the unfinished uploads of earlier pages, among the user's newest 100, that no tab of this browser works on.
   *
   * An upload whose bytes had arrived is completed by this call, so its status is `registered` or `failed`. The broker
   * finishes a `registering` upload without the page. For a `pending` upload ask the user for the same file, and pass it
   * to `upload` with the option `resume`.
   */
  pending(options?: { signal?: AbortSignal | undefined }): Promise<Upload[]>;
  /**
   * Cancel an unfinished upload, such as one of `pending()`. Its file is not needed. The broker refuses to cancel an
   * upload that is registered or is being registered.
   */
  cancel(
    upload: Pick<Upload, "id">,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<unknown>;
  /** Register media that is public on the web. The URL may have spaces around it, as users paste it. */
  registerUrl(options: RegisterUrlOptions): Promise<RegisteredUpload>;
  /** Return this user's registered uploads, newest first. */
  assets(options?: PageOptions): Promise<Page<RegisteredUpload>>;
  /** Return how much this user may upload, and which types. */
  limits(options?: { signal?: AbortSignal | undefined }): Promise<Limits>;
}

export type AssetType = "VIDEO" | "AUDIO" | "IMAGE";

interface Labels {
  /** A label that users read. */
  name?: string | undefined;
  projectId?: string | undefined;
  /** Stops the call, `getToken` included. */
  signal?: AbortSignal | undefined;
}

export interface UploadOptions extends Labels {
  /** By default it follows from the content type. */
  type?: AssetType | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** An upload of `pending()` or of an error, which this file continues. Its labels and type stay as they were. */
  resume?: Pick<Upload, "id" | "fileName" | "size"> | undefined;
}

export interface RegisterUrlOptions extends Labels {
  url: string;
  type: AssetType;
}

export interface PageOptions {
  limit?: number | undefined;
  /** The `nextCursor` of the previous page. */
  cursor?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * `waiting`: nothing is being sent, since other files are sent first, the broker has a queue, or a try has failed.
 * `uploading`: bytes are being sent. `finishing`: the storage has all bytes. `done`: the asset is recorded.
 */
export type Phase = "waiting" | "uploading" | "finishing" | "done";

export interface Progress {
  /** Bytes sent. */
  loaded: number;
  /** Bytes of the file. */
  total: number;
  /** A whole number. It is 100 only when the asset is recorded. */
  percentage: number;
  phase: Phase;
  /** The upload's id, once the broker has begun it. */
  id?: string | undefined;
  /** During a pause: seconds until the next try, which comes earlier if the browser finds the network again. */
  wait?: number | undefined;
  /** During a pause: the reason. A `RateLimitError` may have the position in the queue. */
  error?: UploadError | undefined;
}

/** An upload as the broker reports it. */
export type Upload = UnfinishedUpload | RegisteredUpload | FailedUpload | EndedUpload;

interface UploadFacts {
  id: string;
  fileName: string | null;
  contentType: string | null;
  size: number | null;
  type: AssetType;
  name: string | null;
  projectId: string | null;
  /** The URL of media that was public on the web; null for a file. */
  sourceUrl: string | null;
  /** ISO 8601, UTC. */
  createdAt: string;
  /** ISO 8601, UTC. */
  updatedAt: string;
}

/** `pending` until the storage has its bytes, then `registering`. */
export interface UnfinishedUpload extends UploadFacts {
  status: "pending" | "registering";
  asset: null;
  error: null;
}

export interface RegisteredUpload extends UploadFacts {
  status: "registered";
  asset: Asset;
  error: null;
}

export interface FailedUpload extends UploadFacts {
  status: "failed";
  asset: null;
  /** The reason, in the words of the broker. */
  error: Problem;
}

export interface EndedUpload extends UploadFacts {
  status: "expired" | "cancelled";
  asset: null;
  error: null;
}

export interface Asset {
  id: string;
  type: AssetType;
  url?: string | null;
  name?: string | null;
  size?: number | null;
  format?: string | null;
  durationSeconds?: number | null;
  width?: number | null;
  height?: number | null;
  thumbnailUrl?: string | null;
  projectId?: string | null;
}

/** An RFC 9457 problem document. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  retryable: boolean;
  /** If the input was invalid: what is wrong with which field, as JSON pointers. */
  errors?: { pointer: string; detail: string }[];
  instance?: string;
  requestId?: string;
}

export interface Page<Item> {
  items: Item[];
  nextCursor?: string;
}

export interface Limits {
  maxUploadBytes: number;
  /** Such as `video/*`. */
  contentTypes: string[];
  openUploads: Quota;
  uploadsPerDay: DailyQuota;
  /** Null if there is no limit. */
  bytesPerDay: DailyQuota | null;
  /** The rate limit of new uploads. */
  presigns: PresignLimit;
}

/** The rate limit of new uploads, which all users of a broker share, and the queue of those that exceed it. */
export interface PresignLimit {
  /** How many uploads all users together may begin in a minute. */
  perMinute: number;
  /** How many uploads this user could begin now. */
  available: number;
  /** How many uploads of all users are in the queue. */
  waiting: number;
  /** How many seconds an upload would wait that is begun now. */
  waitSeconds: number;
}

export interface Quota {
  limit: number;
  left: number;
}

export interface DailyQuota extends Quota {
  /** Seconds until the day (UTC) ends. */
  resetsIn: number;
}

/**
 * The error of every failure except a defect in your own callbacks or options. Its `message` is for users, its `code`
 * for programs, `hint` and `cause` for developers.
 */
export declare class UploadError extends Error {
  constructor(message: string, facts: Partial<UploadError> & { code: string });
  /**
   * The broker's own code, or one of the client's: `aborted`, `broker_unreachable`, `different_file`, `file_empty`,
   * `file_unreadable`, `invalid_url`, `no_xhr`, `not_a_local_file` (Uppy), `still_registering`, `storage_refused`,
   * `storage_unreachable`, `token_failed`, `unexpected_response`, `url_expired`.
   */
  readonly code: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The HTTP status; 0 or absent if no response came. */
  readonly status?: number | undefined;
  /** The id to quote to the operator of the broker. */
  readonly requestId?: string | null | undefined;
  /** Seconds to wait before another try; 0 or absent if the broker named none. */
  readonly retryAfter?: number | undefined;
  /**
   * The upload that was begun, if it can be resumed, also after a new sign-in. Another try passes it as `resume`, and
   * would be a second upload otherwise.
   */
  readonly upload?: Upload | undefined;
  /** What is wrong with which field, as JSON pointers; empty unless the input was invalid. */
  readonly errors: { pointer: string; detail: string }[];
  /** For developers: why a server may be out of reach, as the console shows it. Absent while the browser is offline. */
  readonly hint?: string | undefined;
  /** The error that caused this one, or the text of the storage or a gateway. */
  readonly cause?: unknown;
}

/** The page's own signal ended the call. */
export declare class AbortError extends UploadError {}

/** The same request will be refused again. */
export declare class RefusedError extends UploadError {}

/** The upload has expired or was cancelled; a new one may be begun. */
export declare class ExpiredError extends UploadError {}

/** No response came, or one that neither the broker nor the storage can have sent. */
export declare class NetworkError extends UploadError {}

/** The broker has too many requests at the moment: `rate_limited`, `queue_full`. */
export declare class RateLimitError extends UploadError {
  /** The position in the queue, if the broker reports it; 1 is next. */
  readonly position?: number | undefined;
}
