import assert from "node:assert/strict";
import { describePause } from "../../sandbox/demo/page/pause.js";
import { test } from "../bounded.js";

const failed = { name: "NetworkError", message: "Can't reach the server." };

test("a pause shows its reason, and counts down", () => {
  const pause = { error: failed, until: 5000 };
  assert.deepEqual(describePause(pause, 2000, true), {
    state: "Trying again",
    text: "Can't reach the server. Next try in 3 s.",
  });
  assert.match(describePause(pause, 4100, true).text, /in 1 s\.$/);
});

test("a pause that is over shows 0 s", () => {
  assert.match(describePause({ error: failed, until: 0 }, 9000, true).text, /in 0 s\.$/);
});

test("an offline pause shows no time", () => {
  const { state, text } = describePause({ error: failed, until: 30_000 }, 0, false);
  assert.deepEqual([state, text], ["Offline", "The upload resumes when the connection is back."]);
});

test("a pause in the queue shows the position and the time", () => {
  const error = { name: "RateLimitError", message: "In the queue.", position: 4 };
  assert.deepEqual(describePause({ error, phase: "waiting", until: 75_000 }, 0, true), {
    state: "In the queue",
    text: "Number 4 in the queue. The upload starts in 1 min 15 s.",
  });
});

test("a pause in the queue without a position shows only the time", () => {
  const pause = { error: { name: "RateLimitError" }, phase: "waiting", until: 9000 };
  assert.equal(describePause(pause, 0, true).text, "The upload starts in 9 s.");
});

test("a registration that the rate limiter postpones is not shown as an upload in the queue", () => {
  const error = { name: "RateLimitError", message: "Too many files. Try again in 5 seconds." };
  assert.deepEqual(describePause({ error, phase: "finishing", until: 5000 }, 0, true), {
    state: "Trying again",
    text: "Too many files. Next try in 5 s.",
  });
});

test("a pause adds the full stop that its reason lacks", () => {
  const error = { name: "UploadError", message: "Please sign in" };
  assert.match(describePause({ error, until: 0 }, 0, true).text, /^Please sign in\. Next/);
});

for (const [message, text] of [
  ["The upload link expired. Trying again …", "The upload link expired."],
  [
    '"a.mp4" has not arrived at Sync yet. Try again in a moment.',
    '"a.mp4" has not arrived at Sync yet.',
  ],
  ["Sync is busy. Try again in 5 seconds.", "Sync is busy."],
  ["Try again", "Try again."],
  ["Checking …", "Checking …"],
]) {
  test(`"${message}" is shown without the advice to try again`, () => {
    const pause = { error: { name: "UploadError", message }, until: 2000 };
    assert.equal(describePause(pause, 0, true).text, `${text} Next try in 2 s.`);
  });
}
