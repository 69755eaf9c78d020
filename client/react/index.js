"use client";

import { useCallback, useEffect, useRef, useState } from "react";
import { AbortError, UploadError } from "../index.js";

/** @type {import("./index.js").UploadState} */
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
 * Uploads the file, and shows how it stands for as long as no other upload is shown.
 *
 * @param {{
 *   latest: { current: import("./index.js").UseUploadOptions },
 *   running: { current: Set<AbortController> },
 *   shown: { current: AbortController | undefined },
 *   setState: (change: (last: import("./index.js").UploadState) => any) => void,
 * }} hook
 * @param {Blob} file
 * @param {import("../index.js").UploadOptions} [options]
 */
async function uploadShown(hook, file, { signal, onProgress, ...rest } = {}) {
  const controller = new AbortController();
  hook.running.current.add(controller);
  hook.shown.current = controller;
  /** @param {object} change */
  const show = (change) => {
    if (hook.shown.current === controller) hook.setState((last) => ({ ...last, ...change }));
  };
  show({ ...IDLE, status: "pending", isIdle: false, isPending: true, variables: file });
  let data;
  /** @type {any} */
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
  } catch (/** @type {any} */ cause) {
    error = cause;
    // The user knows of an abort: it is no failure to show.
    const isAbort = error instanceof AbortError;
    show(isAbort ? IDLE : { status: "error", isPending: false, isError: true, error });
  }
  hook.running.current.delete(controller);
  const { onSuccess, onError, onSettled } = hook.latest.current;
  if (data) onSuccess?.(data, file);
  else if (!(error instanceof AbortError)) onError?.(error, file);
  onSettled?.(data, error, file);
  if (data) return data;
  throw error;
}

/** @type {typeof import("./index.js").useUpload} */
export function useUpload(options) {
  const [state, setState] = useState(IDLE);
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  // What a second `mutate` or `reset` took off the screen still runs, and can be aborted.
  const running = useRef(/** @type {Set<AbortController>} */ (new Set()));
  const shown = useRef(/** @type {AbortController | undefined} */ (undefined));

  const mutateAsync = useCallback(
    /** @type {import("./index.js").Mutate<Promise<import("../index.js").RegisteredUpload>>} */
    (file, more) => uploadShown({ latest, running, shown, setState }, file, more),
    [],
  );

  const mutate = useCallback(
    /** @type {import("./index.js").Mutate<void>} */
    (file, more) => {
      mutateAsync(file, more).catch((error) => {
        // It is in the hook's state already; what else was thrown is a defect of the app's.
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
