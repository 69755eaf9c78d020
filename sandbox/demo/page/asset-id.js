import { announce } from "./announcer.js";
import { titleOf } from "./title.js";

const SHOWN = 2000; // milliseconds

/** An asset's id, and a button that copies it. */
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
      // Some browsers allow it to nobody: what is selected can be copied by the keyboard.
      getSelection().selectAllChildren(code);
      announce("The asset id is selected");
      return;
    }
    caption.textContent = "Copied";
    announce("Asset id copied");
    setTimeout(() => {
      caption.textContent = "Copy";
    }, SHOWN);
  });
  return [code, button];
}
