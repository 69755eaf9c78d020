import type { BasePlugin, Body, Meta, PluginOpts, Uppy, UppyFile } from "@uppy/core";
import type { RegisteredUpload, Uploader, UploadOptions } from "../index.js";

export interface SyncUploadOptions<M extends Meta = Meta, B extends Body = Body>
  extends PluginOpts {
  uploader: Uploader;
  /** Return the labels of a file; by default its name in Uppy. */
  labels?:
    | ((file: UppyFile<M, B>) => Pick<UploadOptions, "name" | "type" | "projectId">)
    | undefined;
}

/** The type of a file's `response.body` and of the `body` of "upload-success", which has `asset.id`. */
export type SyncUploadBody = RegisteredUpload & Body;

/**
 * Uploads Uppy's files through the broker: `uppy.use(SyncUpload, { uploader })`.
 *
 * The uploader's options decide how many files are sent at once, and how long a failed one is repeated.
 */
export declare class SyncUpload<M extends Meta, B extends Body> extends BasePlugin<
  SyncUploadOptions<M, B>,
  M,
  B
> {
  constructor(uppy: Uppy<M, B>, options: SyncUploadOptions<M, B>);
}
