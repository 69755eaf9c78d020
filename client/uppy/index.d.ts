import type { BasePlugin, Body, Meta, PluginOpts, Uppy, UppyFile } from "@uppy/core";
import type { RegisteredUpload, Uploader, UploadOptions } from "../index.js";

export interface SyncUploadOptions<M extends Meta = Meta, B extends Body = Body>
  extends PluginOpts {
  uploader: Uploader;
  /** What the broker is told of a file; by default its name in Uppy. */
  labels?:
    | ((file: UppyFile<M, B>) => Pick<UploadOptions, "name" | "type" | "projectId">)
    | undefined;
}

/** What a file's `response.body` is, and what "upload-success" tells: `body.asset.id`. */
export type SyncUploadBody = RegisteredUpload & Body;

/**
 * Uploads Uppy's files through the broker: `uppy.use(SyncUpload, { uploader })`.
 *
 * How many are sent at once, and how long what fails is repeated, are options of the uploader.
 */
export declare class SyncUpload<M extends Meta, B extends Body> extends BasePlugin<
  SyncUploadOptions<M, B>,
  M,
  B
> {
  constructor(uppy: Uppy<M, B>, options: SyncUploadOptions<M, B>);
}
