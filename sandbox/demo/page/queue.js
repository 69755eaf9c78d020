import { createMeter } from "./meter.js";

/** What an error leaves, by its code. */
const ENDS = { aborted: "cancelled", different_file: "unfinished", still_registering: "late" };

/**
 * The files of this page, and what becomes of each. An entry is matched by itself, never by its file's
 * name, size or type: two files may share them all. The uploader lets a few in at a time.
 *
 * States: unfinished (of an earlier page, without its file), waiting, uploading, finishing, late (Sync is
 * still registering it, and the uploader has given up asking), done, failed, cancelled.
 */
export function createQueue(uploader, onChange) {
  let running = 0;

  function change(entry, facts) {
    Object.assign(entry, facts);
    onChange(entry);
  }

  /** Ends a file's line, whose asset is there. */
  const finish = (entry, upload) =>
    change(entry, { state: "done", percentage: 100, pause: null, upload });

  async function send(entry) {
    const meter = createMeter(entry.file.size);
    const onProgress = ({ phase, loaded, percentage, wait, error }) => {
      const now = performance.now();
      const rate = phase === "uploading" ? meter.read(loaded, now) : null;
      // While Sync registers what has arrived, nothing is wrong that a row would have to tell.
      const isPause = error && error.code !== "still_registering";
      const pause = isPause && { error, phase, until: now + wait * 1000 };
      if (phase !== "done") change(entry, { state: phase, percentage, rate, pause });
    };
    entry.controller = new AbortController();
    change(entry, { state: "waiting", percentage: 0, rate: null, pause: null, error: null });
    running += 1;
    try {
      const { signal } = entry.controller;
      const upload = await uploader.upload(entry.file, {
        signal,
        onProgress,
        resume: entry.resume,
      });
      finish(entry, upload);
    } catch (error) {
      // Another file leaves the upload as it was; else it goes on with what was begun, or begins anew.
      if (error.code !== "different_file") entry.resume = error.upload;
      change(entry, { state: ENDS[error.code] ?? "failed", pause: null, error });
    } finally {
      running -= 1;
    }
  }

  return {
    /** Sends a file, and gives its entry. */
    add(file) {
      const entry = { file };
      send(entry);
      return entry;
    },
    /** Shows an upload of an earlier page, which waits for its file. */
    addUnfinished(resume) {
      const { fileName: name, size, contentType: type } = resume;
      change({ file: { name, size, type }, resume }, { state: "unfinished", percentage: 0 });
    },
    /** Goes on with an unfinished upload. */
    resume: (entry, file) => send(Object.assign(entry, { file })),
    /** Gives an unfinished upload up, which nobody has the file of; true if it is over by that. */
    async discard(entry) {
      try {
        await uploader.cancel(entry.resume);
      } catch (error) {
        // What has expired meanwhile is over as well.
        if (error.name !== "ExpiredError") {
          change(entry, { error });
          return false;
        }
      }
      return true;
    },
    finish,
    retry: send,
    cancel: (entry) => entry.controller.abort(),
    isBusy: () => running > 0,
  };
}
