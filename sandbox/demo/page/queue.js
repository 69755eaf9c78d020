import { createMeter } from "./meter.js";

const CONCURRENCY = 3;

/**
 * Sends a few files at a time. An entry is matched by itself, never by its file's name, size or type:
 * two files may share them all.
 *
 * States: waiting, uploading, finishing, done, failed, cancelled.
 */
export function createQueue(uploader, onChange) {
  const waiting = [];
  let running = 0;

  function change(entry, facts) {
    Object.assign(entry, facts);
    onChange(entry);
  }

  function enqueue(entry) {
    waiting.push(entry);
    change(entry, { state: "waiting", percentage: 0, rate: null, error: null });
    startNext();
  }

  function startNext() {
    while (running < CONCURRENCY && waiting.length) {
      running += 1;
      send(waiting.shift()).finally(() => {
        running -= 1;
        startNext();
      });
    }
  }

  async function send(entry) {
    const meter = createMeter(entry.file.size);
    const onProgress = ({ phase, loaded, percentage }) => {
      const rate = phase === "uploading" ? meter.read(loaded, performance.now()) : null;
      if (phase !== "done") change(entry, { state: phase, percentage, rate });
    };
    entry.controller = new AbortController();
    try {
      const { signal } = entry.controller;
      const upload = await uploader.upload(entry.file, { signal, onProgress });
      change(entry, { state: "done", percentage: 100, upload });
    } catch (error) {
      change(entry, { state: error.code === "aborted" ? "cancelled" : "failed", error });
    }
  }

  return {
    add: (file) => enqueue({ file }),
    retry: enqueue,
    cancel(entry) {
      const place = waiting.indexOf(entry);
      if (place < 0) return entry.controller.abort();
      waiting.splice(place, 1);
      change(entry, { state: "cancelled" });
    },
    isBusy: () => running > 0,
  };
}
