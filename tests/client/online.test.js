import assert from "node:assert/strict";
import { test } from "../bounded.js";
import { failureOf, setUpUploader, target } from "./server.js";

const BEGIN = "POST /uploads";
const COMPLETE = "POST /uploads/upload-1/complete";
const CANCEL = "DELETE /uploads/upload-1";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });
const start = setUpUploader();

// Browsers dispatch this event when they find the network again; Node has no such event.
const network = new EventTarget();
globalThis.addEventListener = network.addEventListener.bind(network);

/** Return responses of which the first never comes. */
const silentAtFirst = (answer) => [{ before: () => new Promise(() => {}) }, answer];

for (const [route, status, body] of [
  [BEGIN, 201, target],
  [COMPLETE, 200, () => ({ status: "registered", asset: { id: "asset-1" } })],
]) {
  test(`${route} is repeated at once when the network is found again`, async () => {
    const { server, uploader } = await start((url) => ({
      [route]: silentAtFirst({ status, body: body(url) }),
    }));
    const upload = uploader.upload(file);
    await server.arrival(route);
    network.dispatchEvent(new Event("online"));
    assert.equal((await upload).asset.id, "asset-1");
    assert.equal(server.at(route).length, 2);
    assert.ok(!server.routes().includes(CANCEL));
  });
}

test("a getToken that never settles is called again when the network is found again", async () => {
  let calls = 0;
  const getToken = () => {
    calls += 1;
    return calls === 1 ? new Promise(() => {}) : "token-2";
  };
  const { uploader } = await start({}, { getToken });
  const pauses = [];
  const onProgress = ({ error }) => error && pauses.push([error.code, error.hint]);
  const upload = uploader.upload(file, { onProgress });
  while (!calls) await new Promise((resolve) => setTimeout(resolve, 5));
  network.dispatchEvent(new Event("online"));
  assert.equal((await upload).asset.id, "asset-1");
  assert.deepEqual(pauses, [["token_failed", undefined]]);
});

test("a request that ends because the network is found again has no hint about the broker", async (context) => {
  const warn = context.mock.method(console, "warn", () => {});
  const { server, uploader } = await start({ "GET /limits": silentAtFirst({ body: {} }) });
  const error = failureOf(uploader.limits());
  await server.arrival("GET /limits");
  network.dispatchEvent(new Event("online"));
  const { code, retryable, hint } = await error;
  assert.deepEqual([code, retryable, hint], ["broker_unreachable", true, undefined]);
  assert.equal(warn.mock.callCount(), 0);
});
