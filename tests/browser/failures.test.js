import assert from "node:assert/strict";
import { test } from "../bounded.js";
import { sampleNamed, setStage } from "./stage.js";

const stage = setStage();

/** Uploads one file that is refused, and gives what its row says. */
async function refusalOf(path) {
  const demo = await stage.open();
  const [row] = await demo.upload(path);
  assert.equal(row.says, "Failed");
  assert.deepEqual(await demo.cards(), []);
  return { demo, failure: row.failure };
}

test("a file over the plan's limit is refused with the reason, the code and the request id", async () => {
  await stage.system.behave({ planMaxBytes: 1000 });
  const { failure } = await refusalOf(sampleNamed("sample.mp4"));
  assert.match(failure, /large|limit|exceed/i);
  assert.match(failure, /file_too_large · request \S+$/);
});

test("a kind of file that is not accepted is refused with the reason", async () => {
  const { failure } = await refusalOf(await stage.write("notes.txt", "Only words."));
  assert.match(failure, /^content_type_not_accepted/m);
});

test("a file of a kind that nobody knows is refused with the reason", async () => {
  const { failure } = await refusalOf(await stage.write("data.unheardof", "?"));
  assert.match(failure, /^content_type_not_accepted/m);
});

test("an empty file is refused with the reason, without asking anybody", async () => {
  const { failure } = await refusalOf(await stage.write("empty.mp4", ""));
  assert.match(failure, /^"empty\.mp4" is empty\./);
  assert.match(failure, /^file_empty$/m);
});

test("while the upstream fails at the presign the row says so, and goes on when it is over", async () => {
  await stage.system.arm({
    match: { method: "POST", path: "/v2/assets/upload" },
    times: null,
    do: { kind: "answer", status: 500, body: { message: "Internal server error" } },
  });
  const demo = await stage.open();
  const path = sampleNamed("sample.mp4");
  await demo.choose(path);
  await demo.rowSays("Trying again", /Next try in \d+ s\.$/);
  await stage.system.calm();
  await demo.rowIn("done", path);
});

test("the storage's refusal is said in one sentence, and trying again works", async () => {
  await stage.system.arm({
    match: { method: "PUT" },
    times: 2,
    do: {
      kind: "answer",
      status: 403,
      headers: { "Access-Control-Allow-Origin": "*", "Content-Type": "application/xml" },
      body: "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
    },
  });
  const path = sampleNamed("sample.mp4");
  const { demo, failure } = await refusalOf(path);
  assert.match(failure, /^The upload link expired\. Try again\.\nurl_expired/);
  await stage.system.calm();
  await demo.press("Try again");
  await demo.rowIn("done", path);
  await stage.assertStored(demo.user, (await demo.rows())[0].assetId, path);
});

test("after a connection that broke in the middle of the file the row says when it tries again", async () => {
  await stage.system.arm({
    match: { method: "PUT" },
    times: 3,
    do: { kind: "cut-body", afterBytes: 10_000 },
  });
  const demo = await stage.open();
  const path = sampleNamed("sample.mp4");
  await demo.choose(path);
  await demo.rowSays(
    "Trying again",
    /^Can't reach the server\. Check your connection; the upload resumes when it is back\. Next try in \d+ s\.$/,
  );
  await demo.rowIn("done", path);
  await stage.assertStored(demo.user, (await demo.rows())[0].assetId, path);
});

test("an upload that pauses can be cancelled", async () => {
  await stage.system.arm({
    match: { method: "PUT" },
    times: null,
    do: { kind: "cut", when: "before" },
  });
  const demo = await stage.open();
  const path = sampleNamed("sample.wav");
  await demo.choose(path);
  await demo.rowSays("Trying again", /Next try/);
  await demo.press("Cancel");
  await demo.rowIn("cancelled", path);
});

test("one refused file among several stops no other", async () => {
  const demo = await stage.open();
  const rows = await demo.upload(
    sampleNamed("sample.wav"),
    await stage.write("among.txt", "Only words."),
    sampleNamed("sample.png"),
  );
  assert.deepEqual(
    rows.map(({ says }) => says),
    ["Ready", "Failed", "Ready"],
  );
});

test("a failure is announced to screen readers with its reason", async () => {
  const demo = await stage.open();
  const [{ failure }] = await demo.upload(await stage.write("said.txt", "Only words."));
  const sentence = failure.split("\n")[0];
  await demo.page.waitForFunction(
    (text) => document.querySelector("#status").textContent.includes(`said.txt failed: ${text}`),
    {},
    sentence,
  );
});
