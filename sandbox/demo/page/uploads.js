import { isSameFile } from "/client/index.js";
import { announce } from "./announcer.js";
import { createQueue } from "./queue.js";
import { createRow } from "./upload-row.js";

const section = document.querySelector("#uploads");
const list = document.querySelector("#rows");
const clear = document.querySelector("#clear");
const input = document.querySelector("#files");

const POLL_INTERVAL = 5000; // milliseconds

/** Return the list of this page's uploads. It calls `onReady` with each one that becomes an asset. */
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
    // Without this, the focus would be lost with the removed button.
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

  /** Poll until Sync has registered these uploads, and show them. */
  async function follow(registering) {
    if (!registering.length) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL));
    const ids = new Set(registering.map(({ id }) => id));
    try {
      const left = await uploader.pending();
      // An upload that the broker has completed by now is not pending, but in the list of assets.
      const { items } = await uploader.assets();
      for (const upload of items) if (ids.has(upload.id)) complete(upload);
      await follow(left.filter(({ id, status }) => ids.has(id) && status === "registering"));
    } catch {
      await follow(registering);
    }
  }

  function complete(upload) {
    const entry = [...rows.keys()].find(({ resume }) => resume?.id === upload.id);
    if (!entry) onReady(upload);
    // In any other state, another try is in progress and will complete the entry.
    else if (entry.state === "late") queue.finish(entry, upload);
  }

  /** Resume the newest unfinished upload of this file, or begin a new upload, and return its entry. */
  function start(file) {
    const left = [...rows.keys()].find((entry) => isLeftOf(file, entry));
    if (!left) return queue.add(file);
    queue.resume(left, file);
    announce(`${file.name} resumes`);
    return left;
  }

  return {
    /** Add the unfinished uploads of earlier pages. */
    async findUnfinished() {
      const left = await uploader.pending();
      const withStatus = (wanted) => left.filter(({ status }) => status === wanted);
      for (const upload of withStatus("registered")) onReady(upload);
      for (const upload of withStatus("pending")) queue.addUnfinished(upload);
      const { length } = withStatus("pending");
      if (length) announce(length === 1 ? "1 unfinished upload" : `${length} unfinished uploads`);
      await follow(withStatus("registering"));
    },
    add(files) {
      if (!files.length) return;
      announce(files.length === 1 ? "1 file added" : `${files.length} files added`);
      moveToTop(files.map(start).map((entry) => rows.get(entry).element));
    },
  };
}

/** Move rows to the top of the list, and scroll to them. */
function moveToTop(elements) {
  const focused = document.activeElement;
  list.prepend(...elements);
  // Moving a row removes the focus from it.
  focused.focus({ preventScroll: true });
  elements[0].scrollIntoView({ block: "nearest" });
}

/** Open the browser's file chooser for one file, and call `onFile` with it. */
function askForFile(onFile) {
  const chooser = document.createElement("input");
  chooser.type = "file";
  chooser.addEventListener("change", () => onFile(chooser.files[0]));
  chooser.click();
}

const isLeftOf = (file, { state, resume }) => state === "unfinished" && isSameFile(file, resume);

const isOver = ({ state }) => ["done", "failed", "cancelled"].includes(state);
