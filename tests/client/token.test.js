import assert from "node:assert/strict";
import { RefusedError, UploadError } from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, problem, setUpUploader } from "./server.js";

const BEGIN = "POST /uploads";
const COMPLETE = "POST /uploads/upload-1/complete";
const CANCEL = "DELETE /uploads/upload-1";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });
const done = { body: { asset: { id: "asset-2" } } };
const start = setUpUploader();

/** Return a getToken that returns a new token each time, and the contexts of its calls. */
function tokens() {
  const asked = [];
  const getToken = async (context) => `token-${asked.push(context)}`;
  return { asked, getToken };
}

test("a 401 calls getToken once more, with refresh", async () => {
  const { asked, getToken } = tokens();
  const { server, uploader } = await start(
    { [COMPLETE]: [problem(401, "unauthorized"), done] },
    { getToken },
  );
  assert.equal((await uploader.upload(file)).asset.id, "asset-2");
  const sent = server.at(COMPLETE).map(({ headers }) => headers.authorization);
  assert.deepEqual(sent, ["Bearer token-2", "Bearer token-3"]);
  assert.deepEqual(
    asked.map(({ refresh }) => refresh),
    [false, false, true],
  );
});

test("a second 401 is final, with the broker's message", async () => {
  const { getToken } = tokens();
  const { server, uploader } = await start(
    { [BEGIN]: [problem(401, "unauthorized")] },
    { getToken },
  );
  const error = await failureOf(uploader.upload(file));
  assert.ok(error instanceof RefusedError);
  assert.deepEqual([error.code, error.message], ["unauthorized", "The server's own words."]);
  assert.equal(server.at(BEGIN).length, 2);
});

test("each request may have one 401", async () => {
  const { getToken } = tokens();
  const { uploader } = await start(
    {
      [CANCEL]: [problem(401, "unauthorized"), { status: 204, body: "" }],
      [COMPLETE]: [problem(401, "unauthorized"), done],
    },
    { getToken },
  );
  assert.equal((await uploader.upload(file)).asset.id, "asset-2");
  await uploader.cancel({ id: "upload-1" });
});

test("a getToken that rejects ends the upload with the app's own message", async () => {
  const cause = new Error("Please sign in.");
  const { server, uploader } = await start({}, { getToken: () => Promise.reject(cause) });
  const error = await failureOf(uploader.upload(file));
  assert.ok(error instanceof UploadError);
  assert.deepEqual(
    [error.code, error.message, error.cause, error.retryable],
    ["token_failed", "Please sign in.", cause, false],
  );
  assert.deepEqual(server.routes(), []);
});

test("a getToken that throws is handled like one that rejects", async () => {
  const getToken = () => {
    throw new RangeError("No session.");
  };
  const { uploader } = await start({}, { getToken });
  const error = await failureOf(uploader.upload(file));
  assert.deepEqual([error.code, error.message], ["token_failed", "No session."]);
});

test("a rejection that is no Error is the message", async () => {
  const { uploader } = await start({}, { getToken: () => Promise.reject("signed out") });
  assert.equal((await failureOf(uploader.upload(file))).message, "signed out");
});

test("a getToken that rejects without a reason has the message of a user who is signed out", async () => {
  const { uploader } = await start({}, { getToken: () => Promise.reject() });
  const { code, message } = await failureOf(uploader.upload(file));
  assert.equal(code, "token_failed");
  assert.match(message, /^You are not signed in/);
});

test("a token's server that can't be reached is reported to the developer once", async (context) => {
  const { mock } = context.mock.method(console, "warn", () => {});
  const getToken = () => Promise.reject(new TypeError("Failed to fetch"));
  const { server, uploader } = await start({}, { getToken, patience: 0 });
  const hint =
    "Can't reach the server at getToken's URL. Is it running? Is this program in its CORS rules? " +
    "Does the page's CSP list it in connect-src?";
  for (let tries = 0; tries < 2; tries += 1) {
    const error = await failureOf(uploader.upload(file));
    assert.deepEqual([error.code, error.hint], ["token_failed", hint]);
  }
  assert.deepEqual(
    mock.calls.map((call) => call.arguments),
    [[hint]],
  );
  assert.deepEqual(server.routes(), []);
});

test("a getToken that lost its connection is called again", async () => {
  let asked = 0;
  const getToken = async () => {
    asked += 1;
    if (asked < 3) await fetch("http://127.0.0.1:1/");
    return "token-1";
  };
  const { uploader } = await start({}, { getToken });
  assert.equal((await uploader.upload(file)).asset.id, "asset-1");
});

for (const message of [
  "Failed to fetch",
  "NetworkError when attempting to fetch resource.",
  "Load failed",
  "The network connection was lost.",
  "The Internet connection appears to be offline.",
  "fetch failed",
  "network error",
]) {
  test(`"${message}" is recognised as a lost connection`, async () => {
    const getToken = () => Promise.reject(new TypeError(message));
    const { uploader } = await start({}, { getToken, patience: 0 });
    assert.equal((await failureOf(uploader.upload(file))).retryable, true);
  });
}

for (const [name, getToken] of [
  ["undefined.token", async () => undefined.token],
  ["undefined.fetchToken", async () => undefined.fetchToken()],
]) {
  test(`a defect in getToken, ${name}, is not retried`, async () => {
    const { uploader } = await start({}, { getToken, patience: 1 });
    const error = await failureOf(uploader.upload(file));
    assert.deepEqual([error.code, error.retryable], ["token_failed", false]);
  });
}

for (const [what, given, said] of [
  ["a page with line breaks", "<!doctype html>\n<title>App</title>\n", "a page of HTML."],
  ["a page in one line", " <!doctype html><title>App</title>", "a page of HTML."],
  ["JSON text", '{"token": "secret-1"}', "JSON text."],
  ["a quoted token", '"secret-1"', "JSON text."],
  ["a list in JSON", '["secret-1"]', "JSON text."],
  ["a whole answer", { token: "secret-1" }, "an object."],
  ["a promise in a list", [Promise.resolve("secret-1")], "an object."],
  ["a Response", new Response("secret-1"), "an object."],
  ["a header's value", "Bearer secret-1", "the word Bearer too."],
  ["a header's value in small letters", "bearer secret-1", "the word Bearer too."],
  ["two words", "secret-1 secret-2", "text with spaces or line breaks."],
  ["two lines", "secret-1\nsecret-2", "text with spaces or line breaks."],
  ["a number", 1234, "a number."],
  ["a function", () => "secret-1", "a function."],
  ["true", true, "a boolean."],
]) {
  test(`${what} in place of a token is named in the message, and the token is not`, async () => {
    const { server, uploader } = await start({}, { getToken: async () => given });
    const error = await failureOf(uploader.upload(file));
    assert.deepEqual(
      [error.code, error.message, error.retryable],
      ["token_failed", `getToken must give the token alone, but gave ${said}`, false],
    );
    assert.doesNotMatch(JSON.stringify({ ...error }) + error.stack, /secret/);
    assert.deepEqual(server.routes(), []);
  });
}

for (const [what, given] of [
  ["an empty text", ""],
  ["spaces", " \n"],
  ["null, as Clerk gives to who is signed out,", null],
  ["undefined, as Supabase has without a session,", undefined],
]) {
  test(`${what} in place of a token means that nobody is signed in`, async () => {
    for (const getToken of [async () => given, () => given]) {
      const { server, uploader } = await start({}, { getToken });
      const error = await failureOf(uploader.upload(file));
      assert.deepEqual(
        [error.code, error.message, error.retryable],
        [
          "token_failed",
          "You are not signed in: getToken gave no token. Sign in and try again.",
          false,
        ],
      );
      assert.deepEqual(server.routes(), []);
    }
  });
}

test("a lost connection of getToken has a plain message", async () => {
  const getToken = () => Promise.reject(new TypeError("Failed to fetch"));
  const { uploader } = await start({}, { getToken, patience: 0 });
  const error = await failureOf(uploader.upload(file));
  assert.equal(error.message, "Can't reach the server. Check your connection and try again.");
  assert.equal(error.cause.message, "Failed to fetch");
});

test("a line break after the token is removed", async () => {
  const { server, uploader } = await start({}, { getToken: async () => "token-1\n" });
  await uploader.upload(file);
  assert.equal(server.at(BEGIN)[0].headers.authorization, "Bearer token-1");
});

for (const [how, answers, getToken] of [
  [
    "a getToken that rejects",
    [done],
    // The presign succeeds.
    (asked) => (asked < 1 ? "token-1" : Promise.reject(new Error("Please sign in."))),
  ],
  ["a second 401", [problem(401, "unauthorized"), problem(401, "unauthorized"), done], String],
]) {
  test(`${how} at complete lets another try resume the upload`, async () => {
    let asked = 0;
    let isSignedIn = false;
    const { server, uploader } = await start(
      { [COMPLETE]: answers },
      { getToken: () => (isSignedIn ? "token-2" : getToken(asked++)) },
    );
    const take = new File(["01234"], "take.mp4", { type: "video/mp4" });
    const error = await failureOf(uploader.upload(take));
    assert.deepEqual([error.retryable, error.upload.id], [false, "upload-1"]);
    isSignedIn = true;
    const { asset } = await uploader.upload(take, { resume: error.upload });
    assert.equal(asset.id, "asset-2");
    assert.equal(server.at(BEGIN).length, 1);
    assert.ok(!server.routes().some((route) => route.startsWith("DELETE")));
  });
}
