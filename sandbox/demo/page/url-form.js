import { announce } from "./announcer.js";
import { describeFailure } from "./failure.js";
import { titleOf } from "./title.js";

const form = document.querySelector("#url-form");
const submit = form.querySelector("[type=submit]");
const failure = document.querySelector("#form-failure");
const samples = document.querySelector("#samples");
const FIELDS = ["url", "type", "name"];
const KINDS = { VIDEO: "video", AUDIO: "audio", IMAGE: "image" };

/** Set up the form that adds a public URL. It calls `onReady` with the asset. */
export function createUrlForm(uploader, offered, onReady) {
  samples.append(...offered.map(sampleItem));

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.ariaDisabled) return;
    setBusy(true);
    clearErrors();
    try {
      const { url, type, name } = Object.fromEntries(new FormData(form));
      const upload = await uploader.registerUrl({
        url: requirePasted(url),
        type,
        name: name || undefined,
      });
      form.reset();
      form.elements.url.focus();
      onReady(upload);
      announce(`${titleOf(upload)} is ready`);
    } catch (error) {
      showErrors(error);
    } finally {
      setBusy(false);
    }
  });
}

function requirePasted(text) {
  if (text.trim()) return text;
  const message = "Paste a web address that begins with https://";
  throw Object.assign(new Error(message), { code: "invalid_url" });
}

function sampleItem({ url, type }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = KINDS[type];
  button.addEventListener("click", () => {
    form.elements.url.value = url;
    form.elements.type.value = type;
    clearErrors();
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function setBusy(isBusy) {
  // A button with the attribute `disabled` would lose the focus.
  submit.ariaDisabled = isBusy ? "true" : null;
  submit.textContent = isBusy ? "Adding…" : "Add";
}

function clearErrors() {
  failure.hidden = true;
  for (const field of FIELDS) {
    form.elements[field].ariaInvalid = null;
    document.querySelector(`#${field}-error`).replaceChildren();
  }
}

/** Show an error at the first invalid field, or below the form. */
function showErrors(error) {
  const named = new Set(error.errors?.map(({ pointer }) => pointer.slice(1)));
  if (error.code === "invalid_url") named.add("url");
  const invalid = FIELDS.filter((field) => named.has(field));
  for (const field of invalid) form.elements[field].ariaInvalid = "true";
  const [first] = invalid;
  const output = first ? document.querySelector(`#${first}-error`) : failure;
  output.replaceChildren(...describeFailure(error));
  output.hidden = false;
  if (first) form.elements[first].focus();
}
