import { isSameFile } from "/client/index.js";
import { announce } from "./announcer.js";
import { createQueue } from "./queue.js";
import { createRow } from "./upload-row.js";

const section = document.querySelector("#uploads");
const list = document.querySelector("#rows");
const clear = document.querySelector("#clear");
const input = document.querySelector("#files");

const LOOK_AGAIN = 5000; // milliseconds

/** The list of this page's uploads; `onReady` hears of each that becomes an asset. */
export function createUploads(uploader, onReady) {
  const rows = new Map();

  const queue = createQueue(uploader, (entry) => {
    if (!rows.has(entry)) show(entry);
    rows.get(entry).update(entry);
    if (entry.state === "done") onReady(entry.upload);
    if (entry.state === "failed") announce(`${entry.file.name} failed: ${entry.error.message}`);
    if (entry.state === "late") {
      announce(`${entry.file.name} is still processing`);
      follow([entry.resume]);
    }
    if (entry.state === "cancelled") announce(`${entry.file.name} is cancelled`);
    clear.hidden = ![...rows.keys()].some(isOver);
  });

  function show(entry) {
    const row = createRow(entry, {
      ...queue,
      remove: () => remove(entry),
      discard: async () => {
        if (!(await queue.discard(entry))) return;
        remove(entry);
        announce(`${entry.file.name} is cancelled`);
      },
      resume: () => askForFile((file) => queue.resume(entry, file)),
    });
    rows.set(entry, row);
    list.append(row.element);
    section.hidden = false;
  }

  function remove(entry) {
    const { element } = rows.get(entry);
    const neighbour = element.nextElementSibling ?? element.previousElementSibling;
    rows.delete(entry);
    element.remove();
    tidy();
    // Else the keyboard's place would be lost with the button.
    (neighbour?.querySelector("button:not([hidden])") ?? input).focus();
  }

  function tidy() {
    section.hidden = rows.size === 0;
    clear.hidden = ![...rows.keys()].some(isOver);
  }

  clear.addEventListener("click", () => {
    for (const [entry, { element }] of rows) {
      if (!isOver(entry)) continue;
      rows.delete(entry);
      element.remove();
    }
    tidy();
    input.focus();
  });

  addEventListener("beforeunload", (event) => {
    if (queue.isBusy()) event.preventDefault();
  });

  /** Shows these when Sync has registered them, as it does without this page too. */
  async function follow(registering) {
    if (!registering.length) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
    const ids = new Set(registering.map(({ id }) => id));
    try {
      const left = await uploader.pending();
      // The broker may have been first: then it is no longer pending.
      const { items } = await uploader.assets();
      for (const upload of items) if (ids.has(upload.id)) land(upload);
      await follow(left.filter(({ id, status }) => ids.has(id) && status === "registering"));
    } catch {
      await follow(registering);
    }
  }

  function land(upload) {
    const entry = [...rows.keys()].find(({ resume }) => resume?.id === upload.id);
    if (!entry) onReady(upload);
    // Where another try is under way, that ends by itself.
    else if (entry.state === "late") queue.finish(entry, upload);
  }

  /** Goes on with what an earlier page left of this file, the newest first, or begins with it. */
  function take(file) {
    const left = [...rows.keys()].find((entry) => isLeftOf(file, entry));
    if (!left) return queue.add(file);
    queue.resume(left, file);
    announce(`${file.name} resumes`);
    return left;
  }

  return {
    /** Takes up what an earlier page left unfinished. */
    async findUnfinished() {
      const left = await uploader.pending();
      const those = (wanted) => left.filter(({ status }) => status === wanted);
      for (const upload of those("registered")) onReady(upload);
      for (const upload of those("pending")) queue.addUnfinished(upload);
      const { length } = those("pending");
      if (length) announce(length === 1 ? "1 unfinished upload" : `${length} unfinished uploads`);
      await follow(those("registering"));
    },
    add(files) {
      if (!files.length) return;
      announce(files.length === 1 ? "1 file added" : `${files.length} files added`);
      raise(files.map(take).map((entry) => rows.get(entry).element));
    },
  };
}

/** Puts these on top of what may be a long list, and in sight. */
function raise(elements) {
  const focused = document.activeElement;
  list.prepend(...elements);
  // A row that was moved has lost the keyboard's place.
  focused.focus({ preventScroll: true });
  elements[0].scrollIntoView({ block: "nearest" });
}

/** Opens the browser's file chooser for one file. */
function askForFile(take) {
  const chooser = document.createElement("input");
  chooser.type = "file";
  chooser.addEventListener("change", () => take(chooser.files[0]));
  chooser.click();
}

const isLeftOf = (file, { state, resume }) => state === "unfinished" && isSameFile(file, resume);

const isOver = ({ state }) => ["done", "failed", "cancelled"].includes(state);
