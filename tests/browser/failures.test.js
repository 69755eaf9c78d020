import assert from "node:assert/strict";
import { test } from "../bounded.js";
import { sampleNamed, setUpFixture } from "./fixture.js";

const fixture = setUpFixture();

/** Upload one file that is refused, and return the page and the failure in its row. */
async function refusalOf(path) {
  const demo = await fixture.open();
  const [row] = await demo.upload(path);
  assert.equal(row.label, "Failed");
  assert.deepEqual(await demo.cards(), []);
  return { demo, failure: row.failure };
}

test("a file over the plan's limit is refused with the reason, the code and the request id", async () => {
  await fixture.system.behave({ planMaxBytes: 1000 });
  const { failure } = await refusalOf(sampleNamed("sample.mp4"));
  assert.match(failure, /large|limit|exceed/i);
  assert.match(failure, /file_too_large · request \S+$/);
});

test("a file of a refused media type is refused with the reason", async () => {
  const { failure } = await refusalOf(await fixture.write("notes.txt", "Only words."));
  assert.match(failure, /^content_type_not_accepted/m);
});

test("a file of an unknown media type is refused with the reason", async () => {
  const { failure } = await refusalOf(await fixture.write("data.unheardof", "?"));
  assert.match(failure, /^content_type_not_accepted/m);
});

test("an empty file is refused with the reason, without a request", async () => {
  const { failure } = await refusalOf(await fixture.write("empty.mp4", ""));
  assert.match(failure, /^"empty\.mp4" is empty\./);
  assert.match(failure, /^file_empty$/m);
});

test("while presigns fail the row shows a pause, and the upload resumes when they work", async () => {
  await fixture.system.injectFault({
    match: { method: "POST", path: "/v2/assets/upload" },
    times: null,
    do: { kind: "answer", status: 500, body: { message: "Internal server error" } },
  });
  const demo = await fixture.open();
  const path = sampleNamed("sample.mp4");
  await demo.choose(path);
  await demo.rowShows("Trying again", /Next try in \d+ s\.$/);
  await fixture.system.restore();
  await demo.rowIn("done", path);
});

test("a refusal of the storage is shown in one sentence, and trying again works", async () => {
  await fixture.system.injectFault({
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
  await fixture.system.restore();
  await demo.press("Try again");
  await demo.rowIn("done", path);
  await fixture.assertStored(demo.user, (await demo.rows())[0].assetId, path);
});

test("after a broken connection the row shows the time of the next try", async () => {
  await fixture.system.injectFault({
    match: { method: "PUT" },
    times: 3,
    do: { kind: "cut-body", afterBytes: 10_000 },
  });
  const demo = await fixture.open();
  const path = sampleNamed("sample.mp4");
  await demo.choose(path);
  await demo.rowShows(
    "Trying again",
    /^Can't reach the server\. Check your connection; the upload resumes when it is back\. Next try in \d+ s\.$/,
  );
  await demo.rowIn("done", path);
  await fixture.assertStored(demo.user, (await demo.rows())[0].assetId, path);
});

test("an upload can be cancelled during a pause", async () => {
  await fixture.system.injectFault({
    match: { method: "PUT" },
    times: null,
    do: { kind: "cut", when: "before" },
  });
  const demo = await fixture.open();
  const path = sampleNamed("sample.wav");
  await demo.choose(path);
  await demo.rowShows("Trying again", /Next try/);
  await demo.press("Cancel");
  await demo.rowIn("cancelled", path);
});

test("one refused file does not stop the others", async () => {
  const demo = await fixture.open();
  const rows = await demo.upload(
    sampleNamed("sample.wav"),
    await fixture.write("among.txt", "Only words."),
    sampleNamed("sample.png"),
  );
  assert.deepEqual(
    rows.map(({ label }) => label),
    ["Ready", "Failed", "Ready"],
  );
});

test("a failure is announced to screen readers with its reason", async () => {
  const demo = await fixture.open();
  const [{ failure }] = await demo.upload(await fixture.write("failed.txt", "Only words."));
  const sentence = failure.split("\n")[0];
  await demo.page.waitForFunction(
    (text) => document.querySelector("#status").textContent.includes(`failed.txt failed: ${text}`),
    {},
    sentence,
  );
});
