import { announce } from "./announcer.js";
import { describeFailure } from "./failure.js";
import { titleOf } from "./title.js";

const form = document.querySelector("#url-form");
const submit = form.querySelector("[type=submit]");
const failure = document.querySelector("#form-failure");
const samples = document.querySelector("#samples");
const FIELDS = ["url", "type", "name"];
const KINDS = { VIDEO: "video", AUDIO: "audio", IMAGE: "image" };

/** The form that registers a public URL; `onRegistered` hears of the asset. */
export function createUrlForm(uploader, offered, onRegistered) {
  samples.append(...offered.map(sampleItem));

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.ariaDisabled) return;
    setBusy(true);
    clearErrors();
    try {
      const { url, type, name } = Object.fromEntries(new FormData(form));
      const upload = await uploader.registerUrl({ url: url.trim(), type, name: name || undefined });
      form.reset();
      form.elements.url.focus();
      onRegistered(upload);
      announce(`${titleOf(upload)} is registered`);
    } catch (error) {
      showErrors(error);
    } finally {
      setBusy(false);
    }
  });
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
  // A disabled button would lose the keyboard's place.
  submit.ariaDisabled = isBusy ? "true" : null;
  submit.textContent = isBusy ? "Registering…" : "Register";
}

function clearErrors() {
  failure.hidden = true;
  for (const field of FIELDS) {
    form.elements[field].ariaInvalid = null;
    document.querySelector(`#${field}-error`).textContent = "";
  }
}

/** What has a field is said at the field; the rest beneath the form. */
function showErrors(error) {
  const atFields = error.errors?.filter(({ pointer }) => FIELDS.includes(pointer.slice(1))) ?? [];
  for (const { pointer, detail } of atFields) {
    form.elements[pointer.slice(1)].ariaInvalid = "true";
    document.querySelector(`#${pointer.slice(1)}-error`).textContent = detail;
  }
  form.querySelector("[aria-invalid]")?.focus();
  if (atFields.length) return;
  failure.replaceChildren(...describeFailure(error));
  failure.hidden = false;
}
