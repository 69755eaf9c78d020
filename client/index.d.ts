export interface UploaderOptions {
  /** Where the broker is, such as `https://uploads.example.com`. */
  endpoint: string;
  /** The bearer token of your user, or a function that gets one; it is asked before each request. */
  getToken: string | ((context: { signal?: AbortSignal }) => string | Promise<string>);
}

export declare function createUploader(options: UploaderOptions): Uploader;

export interface Uploader {
  /** Uploads a file and registers it as an asset. */
  upload(file: Blob, options?: UploadOptions): Promise<RegisteredUpload>;
  /** Registers media that is public on the web already. */
  registerUrl(options: RegisterUrlOptions): Promise<RegisteredUpload>;
  /** This user's registered uploads, newest first. */
  assets(options?: PageOptions): Promise<Page<RegisteredUpload>>;
  /** What this user may upload. */
  limits(options?: { signal?: AbortSignal }): Promise<Limits>;
}

export type AssetType = "VIDEO" | "AUDIO" | "IMAGE";

interface Labels {
  /** A label for people. */
  name?: string;
  projectId?: string;
  /** Stops everything that is under way, the token's request included. */
  signal?: AbortSignal;
}

export interface UploadOptions extends Labels {
  /** By default it follows from the content type. */
  type?: AssetType;
  onProgress?: (progress: Progress) => void;
}

export interface RegisterUrlOptions extends Labels {
  url: string;
  type: AssetType;
}

export interface PageOptions {
  limit?: number;
  /** The `nextCursor` of the page before. */
  cursor?: string;
  signal?: AbortSignal;
}

/** `finishing` begins when all bytes are sent, `done` when the asset is recorded. */
export type Phase = "waiting" | "uploading" | "finishing" | "done";

export interface Progress {
  /** Bytes sent. */
  loaded: number;
  /** Bytes of the file. */
  total: number;
  /** A whole number; 100 only when the asset is recorded. */
  percentage: number;
  phase: Phase;
}

export interface Upload {
  id: string;
  status: "pending" | "registering" | "registered" | "failed" | "expired" | "cancelled";
  fileName: string | null;
  contentType: string | null;
  size: number | null;
  type: AssetType;
  name: string | null;
  projectId: string | null;
  /** ISO 8601, UTC. */
  createdAt: string;
  /** ISO 8601, UTC. */
  updatedAt: string;
  asset: Asset | null;
  error: Problem | null;
}

export interface RegisteredUpload extends Upload {
  status: "registered";
  asset: Asset;
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
}

export interface Quota {
  limit: number;
  left: number;
}

export interface DailyQuota extends Quota {
  /** Seconds until the day (UTC) is over. */
  resetsIn: number;
}

/** Everything that goes wrong; its message is for people, its `code` for programs. */
export declare class UploadError extends Error {
  /**
   * The broker's own code, or one of the client's: `aborted`, `broker_unreachable`, `still_registering`,
   * `storage_refused`, `storage_unreachable`, `token_failed`, `unexpected_answer`, `unknown_content_type`.
   */
  readonly code: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The HTTP status, if there was an answer. */
  readonly status?: number;
  /** What to quote to whoever runs the broker. */
  readonly requestId?: string;
  /** Seconds to wait before another try, if the broker said so. */
  readonly retryAfter?: number;
  /** What is wrong with which field, as JSON pointers; empty unless the input was invalid. */
  readonly errors: { pointer: string; detail: string }[];
}
