// Records a camera and a microphone in every format of the browser.
const SHORTEST = 300; // milliseconds
const LONGEST = 10_000; // milliseconds
const CAMERA = { width: 160, height: 120 };

/** Return the media types of these that the browser's recorder supports. */
export const recordable = (mimeTypes) =>
  mimeTypes.filter((mimeType) => MediaRecorder.isTypeSupported(mimeType));

/**
 * Record once for each media type, all at the same time, and return the blobs with the types that the recorder
 * reports. For an empty media type, the browser chooses one.
 *
 * @param {"audio" | "video" | "both"} kind
 * @param {string[]} mimeTypes
 */
export async function record(kind, mimeTypes) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: kind !== "video",
    video: kind !== "audio" && CAMERA,
  });
  try {
    return await Promise.all(mimeTypes.map((mimeType) => recordOne(stream, mimeType)));
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}

/** Record one blob. If a slow machine has encoded nothing, record for longer. */
async function recordOne(stream, mimeType, length = SHORTEST) {
  const blob = await recordFor(length, new MediaRecorder(stream, mimeType ? { mimeType } : {}));
  if (blob.size > 0) return blob;
  if (length > LONGEST) throw new Error(`Nothing was recorded as ${mimeType || "the default"}.`);
  return recordOne(stream, mimeType, 2 * length);
}

function recordFor(length, recorder) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    recorder.onerror = ({ error }) => reject(error);
    recorder.onstart = () => setTimeout(() => recorder.stop(), length);
    recorder.ondataavailable = ({ data }) => chunks.push(data);
    recorder.onstop = () => resolve(new Blob(chunks, { type: chunks[0].type }));
    recorder.start();
  });
}

export async function digestOf(blob) {
  const digest = await crypto.subtle.digest("SHA-256", await blob.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
