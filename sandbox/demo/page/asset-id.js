import { announce } from "./announcer.js";
import { titleOf } from "./title.js";

const CONFIRMATION = 2000; // milliseconds

/** Return the elements for an asset's id and for a button that copies it. */
export function createAssetId(upload) {
  const code = document.createElement("code");
  code.textContent = upload.asset.id;

  const caption = document.createElement("span");
  caption.textContent = "Copy";
  const label = document.createElement("span");
  label.className = "unseen";
  label.textContent = ` asset id of ${titleOf(upload)}`;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.append(caption, label);

  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(upload.asset.id);
    } catch {
      // Some browsers refuse the clipboard, so the user can copy the selected id by keyboard.
      getSelection().selectAllChildren(code);
      announce("The asset id is selected");
      return;
    }
    caption.textContent = "Copied";
    announce("Asset id copied");
    setTimeout(() => {
      caption.textContent = "Copy";
    }, CONFIRMATION);
  });
  return [code, button];
}
