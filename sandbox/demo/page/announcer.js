import { endSentence } from "./format.js";

const status = document.querySelector("#status");
const DELAY = 800; // milliseconds
const MOST_MESSAGES = 3; // in one announcement

let waiting = [];

/** Announce a message to screen readers. Messages in quick succession become one short announcement. */
export function announce(message) {
  waiting.push(message);
  if (waiting.length === 1) setTimeout(speak, DELAY);
}

function speak() {
  const rest = waiting.length - MOST_MESSAGES;
  const spoken = waiting.slice(0, MOST_MESSAGES);
  if (rest > 0) spoken.push(`And ${rest} more messages`);
  status.textContent = spoken.map(endSentence).join(" ");
  waiting = [];
}
