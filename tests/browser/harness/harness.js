// A page that uploads what is chosen, and keeps what it is told. Everything goes through the client's
// public face.
import { uploadByApi } from "/api.js";
import { createUploader } from "/client/index.js";
import { digestOf, record, recordable } from "/recorder.js";

const { searchParams } = new URL(location.href);
const options = JSON.parse(searchParams.get("options") ?? "{}");
const uploader = createUploader({
  endpoint: searchParams.get("broker"),
  getToken: async ({ signal }) =>
    (await (await fetch(searchParams.get("token"), { signal })).json()).token,
  ...options,
});
const told = [];
let kept;

function send(file, more = {}) {
  const controller = new AbortController();
  const entry = { name: file.name, size: file.size, events: [], asset: null, error: null };
  told.push(entry);
  entry.abort = () => controller.abort();
  const onProgress = ({ error, ...progress }) =>
    entry.events.push({
      ...progress,
      at: performance.now(),
      error: error?.code,
      kind: error?.name,
    });
  uploader.upload(file, { signal: controller.signal, onProgress, ...more }).then(
    ({ id, asset }) => Object.assign(entry, { id, asset: asset.id }),
    ({ code, name, message, retryable, status }) => {
      entry.error = { code, name, message, retryable, status };
    },
  );
}

/** Sends each blob under its own type, and tells what was sent. */
async function sendBlobs(blobs) {
  kept = blobs[0];
  for (const blob of blobs) send(blob);
  return Promise.all(
    blobs.map(async (blob) => ({ type: blob.type, digest: await digestOf(blob) })),
  );
}

/** Takes the files that are chosen, in their order. */
const chosen = () => [...document.querySelector("#files").files];

globalThis.harness = {
  start: () => chosen().map((file) => send(file)).length,
  /** Tries every method of the public face that begins nothing. */
  pending: () => uploader.pending(),
  /** Gives the chosen file to the unfinished upload of its name. */
  async resume(known) {
    const left = known ?? (await uploader.pending());
    for (const file of chosen())
      send(file, { resume: left.find(({ fileName }) => fileName === file.name) });
    return left.map(({ status, fileName }) => ({ status, fileName }));
  },
  /** Sends bytes that the page made itself. */
  make: (name, type, size) => send(new File([new Uint8Array(size).fill(7)], name, { type })),
  recordable,
  sendBlobs,
  /** Records, and sends one recording under each name that the recorder gave. */
  async record(kind, mimeTypes) {
    const blobs = await record(kind, mimeTypes);
    return sendBlobs([...new Map(blobs.map((blob) => [blob.type, blob])).values()]);
  },
  /** Sends the first blob once more, by the HTTP API. */
  async uploadByApi({ name, type, by }) {
    const urls = { broker: searchParams.get("broker"), token: searchParams.get("token") };
    const file = new File([kept], name, { type });
    return { ...(await uploadByApi({ ...urls, file, by })), digest: await digestOf(file) };
  },
  abort: (index) => told[index].abort(),
  told: () => told.map(({ abort, ...entry }) => entry),
  /** Uploads the chosen file in a worker, and gives what it told. */
  inWorker: () => {
    const worker = new Worker("/guest.js", { type: "module" });
    return outcomeOf(worker, worker);
  },
  /** The same in a frame that has no origin, and so neither locks nor storage. */
  inSandboxedFrame: () => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.src = "/frame.html";
    document.body.append(frame);
    return outcomeOf(globalThis, frame.contentWindow);
  },
};

/** Hands the chosen file over as soon as the guest is ready, and waits for how it went. */
function outcomeOf(source, guest) {
  return new Promise((resolve, reject) => {
    const message = { search: location.search, file: chosen()[0] };
    source.addEventListener("message", ({ data }) => {
      if (data.isReady) guest.postMessage(message, ...(guest === source ? [] : ["*"]));
      else if (data.asset) resolve(data);
      else reject(new Error(data.error));
    });
    source.addEventListener("error", (event) => reject(new Error(event.message)));
  });
}
