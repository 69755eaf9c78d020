export interface UploaderOptions {
  /** The broker's full URL, such as `https://uploads-api.example.com`. */
  endpoint: string | URL;
  /**
   * The bearer token of your user, or a function that returns it or a promise of it, which is called before each
   * request. `null`, `undefined` or an empty string means that nobody is signed in: the call fails with `token_failed`.
   */
  getToken: string | ((context: TokenContext) => Token | Promise<Token>);
  /** How many files are sent at once, at least 1; 3 by default. The others wait for their turn. */
  concurrency?: number | undefined;
  /**
   * Seconds; 300 by default. A step that fails is repeated until its pauses add up to more than this.
   * Time in the broker's line or offline does not count.
   */
  patience?: number | undefined;
  /** Seconds without any progress after which a connection counts as lost, 0 for no limit; 30 by default. */
  stallTimeout?: number | undefined;
}

type Token = string | null | undefined;

export interface TokenContext {
  signal?: AbortSignal | undefined;
  /** Whether the broker has just refused the token before: a kept one is of no use any more. */
  refresh: boolean;
}

/** Throws a `TypeError` that says what to pass, if an option is missing or wrong. */
export declare function createUploader(options: UploaderOptions): Uploader;

/** Whether this is the file that the upload was begun with, as far as name and size tell: `upload` takes both together. */
export declare function isSameFile(file: Blob, upload: Pick<Upload, "fileName" | "size">): boolean;

export interface Uploader {
  /** Uploads a file and registers it as an asset. */
  upload(file: Blob, options?: UploadOptions): Promise<RegisteredUpload>;
  /**
   * What an earlier page of this user left unfinished, and no tab of this browser is working on now.
   *
   * What had arrived already is `registered` by this, or has `failed`. What is `registering` needs nobody
   * any more. For what is `pending` ask for the same file, and give it to `upload` with the option
   * `resume`. It looks at the user's newest 100 uploads.
   */
  pending(options?: { signal?: AbortSignal | undefined }): Promise<Upload[]>;
  /**
   * Gives an unfinished upload up, such as one out of `pending()`, whose file is not needed for it. What is
   * registered, or just being so, is refused.
   */
  cancel(
    upload: Pick<Upload, "id">,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<unknown>;
  /** Registers media that is public on the web already. The URL may be as somebody pasted it. */
  registerUrl(options: RegisterUrlOptions): Promise<RegisteredUpload>;
  /** This user's registered uploads, newest first. */
  assets(options?: PageOptions): Promise<Page<RegisteredUpload>>;
  /** What this user may upload. */
  limits(options?: { signal?: AbortSignal | undefined }): Promise<Limits>;
}

export type AssetType = "VIDEO" | "AUDIO" | "IMAGE";

interface Labels {
  /** A label for people. */
  name?: string | undefined;
  projectId?: string | undefined;
  /** Stops everything that is under way, the token's request included. */
  signal?: AbortSignal | undefined;
}

export interface UploadOptions extends Labels {
  /** By default it follows from the content type. */
  type?: AssetType | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** An upload out of `pending()` or an error, which goes on with this file; labels and type are as they were. */
  resume?: Pick<Upload, "id" | "fileName" | "size"> | undefined;
}

export interface RegisterUrlOptions extends Labels {
  url: string;
  type: AssetType;
}

export interface PageOptions {
  limit?: number | undefined;
  /** The `nextCursor` of the page before. */
  cursor?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * `waiting` for a turn, in the broker's line or until the next try, when nothing of the file is there
 * yet; `finishing` when all bytes are there, `done` when the asset is recorded.
 */
export type Phase = "waiting" | "uploading" | "finishing" | "done";

export interface Progress {
  /** Bytes sent. */
  loaded: number;
  /** Bytes of the file. */
  total: number;
  /** A whole number; 100 only when the asset is recorded. */
  percentage: number;
  phase: Phase;
  /** The upload's id, once the broker has begun it. */
  id?: string | undefined;
  /** While it pauses: seconds until the next try, which comes earlier if the browser gets online. */
  wait?: number | undefined;
  /** While it pauses: why. A `RateLimitError` may have the position in the queue. */
  error?: UploadError | undefined;
}

/** As the broker tells it. */
export type Upload = UnfinishedUpload | RegisteredUpload | FailedUpload | EndedUpload;

interface UploadFacts {
  id: string;
  fileName: string | null;
  contentType: string | null;
  size: number | null;
  type: AssetType;
  name: string | null;
  projectId: string | null;
  /** Where media lies that was public on the web already; null for a file. */
  sourceUrl: string | null;
  /** ISO 8601, UTC. */
  createdAt: string;
  /** ISO 8601, UTC. */
  updatedAt: string;
}

/** `pending` until its bytes are there, then `registering`. */
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
  /** Why, in the words of the broker. */
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
  /** What is wrong with which field, as JSON pointers, where the input was invalid. */
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
  /** Null for any number. */
  bytesPerDay: DailyQuota | null;
  /** How long the line for new uploads is now. */
  line: Line;
}

/** All users of a broker share so many new uploads in a minute; who comes when they are gone stands in line. */
export interface Line {
  perMinute: number;
  /** How many uploads you could begin now. */
  free: number;
  /** Turns that are promised to anybody. */
  waiting: number;
  /** Seconds, for an upload that you begin now. */
  waitSeconds: number;
}

export interface Quota {
  limit: number;
  left: number;
}

export interface DailyQuota extends Quota {
  /** Seconds until the day (UTC) is over. */
  resetsIn: number;
}

/**
 * Everything that goes wrong, save defects in your own callbacks or options. Its `message` is for users; its `code` is
 * for programs; `hint` and `cause` are for developers.
 */
export declare class UploadError extends Error {
  constructor(message: string, facts: Partial<UploadError> & { code: string });
  /**
   * The broker's own code, or one of the client's: `aborted`, `broker_unreachable`, `different_file`, `file_empty`,
   * `file_unreadable`, `invalid_url`, `no_xhr`, `not_a_local_file` (Uppy), `still_registering`, `storage_refused`,
   * `storage_unreachable`, `token_failed`, `unexpected_answer`, `url_expired`.
   */
  readonly code: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The HTTP status; 0 or absent, if there was no answer. */
  readonly status?: number | undefined;
  /** What to quote to whoever runs the broker. */
  readonly requestId?: string | null | undefined;
  /** Seconds to wait before another try; 0 or absent, if the broker did not say. */
  readonly retryAfter?: number | undefined;
  /** What was begun and may go on, also after a new sign-in: another try takes it as the option `resume`, so that it is no second upload. */
  readonly upload?: Upload | undefined;
  /** What is wrong with which field, as JSON pointers; empty unless the input was invalid. */
  readonly errors: { pointer: string; detail: string }[];
  /** Why a server may be out of reach, for the developer; the console has it too. Absent while the browser is offline. */
  readonly hint?: string | undefined;
  /** What was thrown below, or what the storage or a gateway said, as text. */
  readonly cause?: unknown;
}

/** The page's own signal ended it. */
export declare class AbortError extends UploadError {}

/** The same request will be refused again. */
export declare class RefusedError extends UploadError {}

/** The upload's time is over, or it was cancelled: a new one may be begun. */
export declare class ExpiredError extends UploadError {}

/** No answer came, or one that neither the broker nor the storage can have given. */
export declare class NetworkError extends UploadError {}

/** The broker has too many requests at the moment: `rate_limited`, `queue_full`. */
export declare class RateLimitError extends UploadError {
  /** The position in the queue, if the broker reports it; 1 is next. */
  readonly position?: number | undefined;
}
