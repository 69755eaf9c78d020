import { endSentence } from "./format.js";

const status = document.querySelector("#status");
const GATHER = 800; // milliseconds
const SPOKEN = 3; // messages at once

let waiting = [];

/** Says it to screen readers: what comes in a bunch is said in one breath, so that many files stay bearable. */
export function announce(message) {
  waiting.push(message);
  if (waiting.length === 1) setTimeout(speak, GATHER);
}

function speak() {
  const rest = waiting.length - SPOKEN;
  const spoken = waiting.slice(0, SPOKEN);
  if (rest > 0) spoken.push(`And ${rest} more messages`);
  status.textContent = spoken.map(endSentence).join(" ");
  waiting = [];
}
