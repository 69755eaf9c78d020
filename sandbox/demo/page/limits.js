import { formatBytes } from "./format.js";

const input = document.querySelector("#files");
const hint = document.querySelector("#files-hint");
const NAMES = { video: "video", audio: "audio", image: "images" };

/** Show which files can be added, before a user chooses one that is refused. */
export async function showLimits(uploader, report) {
  try {
    const { contentTypes, maxUploadBytes } = await uploader.limits();
    const kinds = new Set(contentTypes.map((type) => NAMES[type.split("/")[0]] ?? "other files"));
    const words = new Intl.ListFormat("en").format(kinds);
    hint.textContent = `${words[0].toUpperCase()}${words.slice(1)}, up to ${formatBytes(maxUploadBytes)} each`;
    input.accept = contentTypes.join(",");
  } catch (error) {
    report(error);
  }
}
