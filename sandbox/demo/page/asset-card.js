import { createAssetId } from "./asset-id.js";
import { formatBytes, formatLength } from "./format.js";
import { titleOf } from "./title.js";

const template = document.querySelector("#card");
const KINDS = { VIDEO: "Video", AUDIO: "Audio", IMAGE: "Image" };

/** Return the card of a registered asset: its media, its facts and its id. */
export function createCard(upload) {
  const element = template.content.firstElementChild.cloneNode(true);
  const find = (selector) => element.querySelector(selector);
  element.dataset.asset = upload.asset.id;
  find(".name").textContent = titleOf(upload);
  find(".meta").textContent = factsOf(upload).join(" · ");
  find(".asset").append(...createAssetId(upload));
  find(".media").dataset.type = upload.asset.type;
  find(".media").append(createMedia(upload));
  return element;
}

function factsOf({ asset, size }) {
  const { type, format, durationSeconds, width, height } = asset;
  const bytes = asset.size ?? size;
  return [
    KINDS[type] ?? type,
    format,
    durationSeconds && formatLength(durationSeconds),
    width && height && `${width} × ${height}`,
    bytes && formatBytes(bytes),
  ].filter(Boolean);
}

function createMedia(upload) {
  const { type, url, thumbnailUrl } = upload.asset;
  if (type === "IMAGE") return createImage(thumbnailUrl ?? url);
  const player = document.createElement(type === "VIDEO" ? "video" : "audio");
  player.controls = true;
  // With preloading, many players on one page would load many files that are never played.
  player.preload = thumbnailUrl || type === "AUDIO" ? "none" : "metadata";
  player.ariaLabel = titleOf(upload);
  if (type === "VIDEO" && thumbnailUrl) player.poster = thumbnailUrl;
  if (url) player.src = url;
  return player;
}

function createImage(source) {
  const image = document.createElement("img");
  // The card's heading already has the name.
  image.alt = "";
  image.loading = "lazy";
  if (source) image.src = source;
  return image;
}
