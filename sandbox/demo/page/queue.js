import { createMeter } from "./meter.js";

/** The state of an entry after an error with one of these codes. */
const STATE_AFTER = {
  aborted: "cancelled",
  different_file: "unfinished",
  still_registering: "late",
};

/**
 * Return the queue of this page's files. Entries are compared by identity, because two files may have the
 * same name, size and type. The uploader sends a few files at a time.
 *
 * States: unfinished (from an earlier page, without its file), waiting, uploading, finishing, late (Sync is
 * still registering the file, and the uploader has stopped waiting), done, failed, cancelled.
 */
export function createQueue(uploader, onChange) {
  let running = 0;

  function change(entry, facts) {
    Object.assign(entry, facts);
    onChange(entry);
  }

  /** Set an entry to done, with its asset. */
  const finish = (entry, upload) =>
    change(entry, { state: "done", percentage: 100, pause: null, upload });

  async function send(entry) {
    const meter = createMeter(entry.file.size);
    const onProgress = ({ phase, loaded, percentage, wait, error }) => {
      const now = performance.now();
      const rate = phase === "uploading" ? meter.read(loaded, now) : null;
      // While Sync is registering the file, the row need not show a pause.
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
      // A different file leaves the upload resumable. Any other error has the upload to resume, if there is one.
      if (error.code !== "different_file") entry.resume = error.upload;
      change(entry, { state: STATE_AFTER[error.code] ?? "failed", pause: null, error });
    } finally {
      running -= 1;
    }
  }

  return {
    /** Send a file, and return its entry. */
    add(file) {
      const entry = { file };
      send(entry);
      return entry;
    },
    /** Add an upload of an earlier page, which waits for its file. */
    addUnfinished(resume) {
      const { fileName: name, size, contentType: type } = resume;
      change({ file: { name, size, type }, resume }, { state: "unfinished", percentage: 0 });
    },
    /** Resume an unfinished upload. */
    resume: (entry, file) => send(Object.assign(entry, { file })),
    /** Cancel an unfinished upload, and return whether it is cancelled or expired. */
    async discard(entry) {
      try {
        await uploader.cancel(entry.resume);
      } catch (error) {
        // An expired upload has ended too.
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
