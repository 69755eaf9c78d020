"use client";

import { useCallback, useEffect, useRef, useState } from "react";
import { AbortError, UploadError } from "../index.js";

/**
 * @typedef {import("../index.js").UploadOptions} UploadOptions
 * @typedef {import("../index.js").RegisteredUpload} RegisteredUpload
 * @typedef {import("./index.js").UploadState} UploadState
 * @typedef {import("./index.js").UseUploadOptions} UseUploadOptions
 *
 * @typedef {object} Hook The state of one component's hook.
 * @property {{ current: UseUploadOptions }} latest The options of the last rendering.
 * @property {{ current: Set<AbortController> }} running
 * @property {{ current: AbortController | undefined }} shown The upload on the screen.
 * @property {(update: (last: UploadState) => UploadState) => void} setState
 */

/** @type {UploadState} */
const IDLE = {
  status: "idle",
  isIdle: true,
  isPending: false,
  isSuccess: false,
  isError: false,
  variables: undefined,
  data: undefined,
  error: null,
  progress: undefined,
};

/**
 * Upload the file, and show its state until another upload is shown.
 *
 * @param {Hook} hook
 * @param {Blob} file
 * @param {UploadOptions} [options]
 * @returns {Promise<RegisteredUpload>}
 */
async function uploadShown(hook, file, { signal, onProgress, ...rest } = {}) {
  const controller = new AbortController();
  hook.running.current.add(controller);
  hook.shown.current = controller;
  /** @param {Partial<UploadState>} change */
  const show = (change) => {
    if (hook.shown.current !== controller) return;
    hook.setState((last) => /** @type {UploadState} */ ({ ...last, ...change }));
  };
  show({ ...IDLE, status: "pending", isIdle: false, isPending: true, variables: file });
  /** @type {RegisteredUpload | undefined} */
  let data;
  /** @type {UploadError | null} */
  let error = null;
  try {
    data = await hook.latest.current.uploader.upload(file, {
      ...rest,
      signal: signal ? AbortSignal.any([signal, controller.signal]) : controller.signal,
      onProgress: (progress) => {
        show({ progress });
        onProgress?.(progress);
      },
    });
    show({ status: "success", isPending: false, isSuccess: true, data });
  } catch (thrown) {
    error = /** @type {UploadError} */ (thrown);
    // The user knows of an abort, so it is not shown as a failure.
    const isAbort = error instanceof AbortError;
    show(isAbort ? IDLE : { status: "error", isPending: false, isError: true, error });
  }
  hook.running.current.delete(controller);
  callBack(hook.latest.current, file, data, error);
  if (data) return data;
  throw error;
}

/**
 * Call the component's callbacks for an upload that has ended.
 *
 * @param {UseUploadOptions} options
 * @param {Blob} file
 * @param {RegisteredUpload | undefined} data
 * @param {UploadError | null} error
 */
function callBack({ onSuccess, onError, onSettled }, file, data, error) {
  if (data) onSuccess?.(data, file);
  else if (error && !(error instanceof AbortError)) onError?.(error, file);
  onSettled?.(data, error, file);
}

/** @type {typeof import("./index.js").useUpload} */
export function useUpload(options) {
  const [state, setState] = useState(IDLE);
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  // An upload that a second `mutate` or `reset` took off the screen continues, and can be aborted.
  const running = useRef(/** @type {Set<AbortController>} */ (new Set()));
  const shown = useRef(/** @type {AbortController | undefined} */ (undefined));

  const mutateAsync = useCallback(
    /** @type {import("./index.js").Mutate<Promise<RegisteredUpload>>} */
    (file, more) => uploadShown({ latest, running, shown, setState }, file, more),
    [],
  );

  const mutate = useCallback(
    /** @type {import("./index.js").Mutate<void>} */
    (file, more) => {
      mutateAsync(file, more).catch((error) => {
        // The hook's state has an UploadError already. Any other error is a defect of the app.
        if (!(error instanceof UploadError)) throw error;
      });
    },
    [mutateAsync],
  );

  const abort = useCallback((/** @type {unknown} */ reason) => {
    for (const controller of running.current) controller.abort(reason);
  }, []);

  const reset = useCallback(() => {
    shown.current = undefined;
    setState(IDLE);
  }, []);

  return { ...state, mutate, mutateAsync, abort, reset };
}
