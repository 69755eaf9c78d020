import { formatBytes } from "./format.js";

const input = document.querySelector("#files");
const hint = document.querySelector("#files-hint");
const NAMES = { "video/*": "video", "audio/*": "audio", "image/*": "images" };

/** Tells what the broker takes, before anybody waits for a refusal. */
export async function showLimits(uploader, report) {
  try {
    const { contentTypes, maxUploadBytes } = await uploader.limits();
    const kinds = new Intl.ListFormat("en").format(contentTypes.map((type) => NAMES[type] ?? type));
    hint.textContent = `${kinds[0].toUpperCase()}${kinds.slice(1)}, up to ${formatBytes(maxUploadBytes)} each`;
    input.accept = contentTypes.join(",");
  } catch (error) {
    report(error);
  }
}
