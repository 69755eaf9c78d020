import { createAssetId } from "./asset-id.js";
import { describeFailure } from "./failure.js";
import { formatBytes, formatMoment, formatSeconds } from "./format.js";
import { describePause } from "./pause.js";

const template = document.querySelector("#row");

// A new sign-in or the operator may fix these errors, so the user may try again.
const UNAUTHORIZED_CODES = new Set(["unauthorized", "upstream_unauthorized"]);

const TICK = 500; // milliseconds

const STATES = {
  unfinished: { text: "Unfinished", buttons: ["resume", "discard"] },
  waiting: { text: "Waiting", buttons: ["cancel"] },
  uploading: { text: "Uploading", buttons: ["cancel"] },
  // The bytes are stored: the broker registers them even if this page is closed.
  finishing: { text: "Processing", buttons: ["cancel"], isFixed: true },
  late: { text: "Still processing", buttons: ["retry", "remove"] },
  done: { text: "Ready", buttons: ["remove"] },
  failed: { text: "Failed", buttons: ["retry", "remove"] },
  cancelled: { text: "Cancelled", buttons: ["retry", "remove"] },
};

let count = 0;

/** Return the row of a file. `actions` has the functions `resume`, `discard`, `cancel`, `retry` and `remove`. */
export function createRow({ file }, actions) {
  const element = template.content.firstElementChild.cloneNode(true);
  const find = (selector) => element.querySelector(selector);
  const buttons = [...element.querySelectorAll("[data-action]")];

  count += 1;
  find(".name").id = `row-name-${count}`;
  find(".name").textContent = file.name;
  find("progress").setAttribute("aria-labelledby", `row-name-${count}`);
  find(".size").textContent = formatBytes(file.size);
  find("use").setAttribute("href", `#icon-${kindOf(file.type)}`);
  for (const label of element.querySelectorAll(".label")) label.textContent = ` ${file.name}`;

  let ticking;

  function showProgress({ state, percentage, rate, resume }) {
    find("progress").hidden = !["waiting", "uploading", "finishing"].includes(state);
    find(".rate").hidden = find("progress").hidden && !["unfinished", "late"].includes(state);
    find("progress").value = percentage;
    find(".percentage").textContent = find("progress").hidden ? "" : `${percentage} %`;
    find(".speed").textContent = rate ? `${formatBytes(rate.bytesPerSecond)}/s` : "";
    find(".left").textContent = remaining(state, rate, resume);
  }

  /** Show the reason for a pause and a countdown. */
  function showPause(pause) {
    clearInterval(ticking);
    element.toggleAttribute("data-paused", Boolean(pause));
    if (!pause) return;
    const tick = () => {
      const { state, text } = describePause(pause, performance.now(), navigator.onLine);
      find(".state").textContent = state;
      find(".left").textContent = text;
    };
    tick();
    ticking = setInterval(tick, TICK);
  }

  function showButtons(entry) {
    const { buttons: shown, isFixed } = STATES[entry.state];
    // This is read before a button is hidden, because hiding it removes the focus.
    const focused = buttons.find((button) => button === document.activeElement);
    const isHopeless = entry.state === "failed" && !mayTryAgain(entry.error);
    for (const button of buttons) {
      const { action } = button.dataset;
      button.hidden = !shown.includes(action) || (isHopeless && action === "retry");
      button.onclick = () => isFixed || actions[action](entry);
      button.ariaDisabled = isFixed ? "true" : null;
    }
    // If the focused button is hidden, the focus moves to a visible one.
    if (focused?.hidden) buttons.find((button) => !button.hidden).focus();
  }

  return {
    element,
    update(entry) {
      element.dataset.state = entry.state;
      find(".state").textContent = STATES[entry.state].text;
      showProgress(entry);
      showPause(entry.pause);
      showButtons(entry);
      // An unfinished upload has an error if a different file was chosen, or if it can't be discarded.
      const hasFailed = ["failed", "unfinished"].includes(entry.state) && entry.error;
      find(".failure").hidden = !hasFailed;
      if (hasFailed) find(".failure").replaceChildren(...describeFailure(entry.error));
      find(".asset").hidden = entry.state !== "done";
      if (entry.state === "done") find(".asset").replaceChildren(...createAssetId(entry.upload));
    },
  };
}

/** Return a sentence about the rest of the upload: the bytes, or the registration, which needs no browser. */
function remaining(state, rate, resume) {
  if (state === "finishing") return "The whole file has arrived. You may close this page.";
  if (state === "late") return "This takes longer than usual. You may close this page.";
  if (state === "unfinished")
    return `Started ${formatMoment(resume.createdAt)}. Choose the same file to upload it again.`;
  return rate ? `${formatSeconds(rate.secondsLeft)} left` : "";
}

/** Whether another try may succeed. Otherwise the same file would be refused again. */
const mayTryAgain = ({ name, code }) => name !== "RefusedError" || UNAUTHORIZED_CODES.has(code);

const kindOf = (type) => /^(video|audio|image)\//.exec(type)?.[1] ?? "file";
