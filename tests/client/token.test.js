import assert from "node:assert/strict";
import { RefusedError, UploadError } from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, problem, setBench } from "./server.js";

const BEGIN = "POST /uploads";
const COMPLETE = "POST /uploads/upload-1/complete";
const CANCEL = "DELETE /uploads/upload-1";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });
const done = { body: { asset: { id: "asset-2" } } };
const start = setBench();

/** A function that gives a new token each time, and what it was asked with. */
function tokens() {
  const asked = [];
  const getToken = async (context) => `token-${asked.push(context)}`;
  return { asked, getToken };
}

test("a 401 lets the token be asked for once more, and says so", async () => {
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

test("a second 401 is final, with the broker's words", async () => {
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

test("a token that can't be had ends the upload with the app's own words", async () => {
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

test("a function that throws at once is as good as one that rejects", async () => {
  const getToken = () => {
    throw new RangeError("No session.");
  };
  const { uploader } = await start({}, { getToken });
  const error = await failureOf(uploader.upload(file));
  assert.deepEqual([error.code, error.message], ["token_failed", "No session."]);
});

test("a reason that is no error is told as it is", async () => {
  const { uploader } = await start({}, { getToken: () => Promise.reject("signed out") });
  assert.equal((await failureOf(uploader.upload(file))).message, "signed out");
});

test("getToken that throws no reason at all leaves the user with words", async () => {
  const { uploader } = await start({}, { getToken: () => Promise.reject() });
  const { code, message } = await failureOf(uploader.upload(file));
  assert.equal(code, "token_failed");
  assert.match(message, /^You are not signed in/);
});

test("a token's server that can't be reached is told to the developer at once and once", async (context) => {
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

test("a token's request that lost its connection is made again", async () => {
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
  test(`"${message}" is how a browser tells a lost connection`, async () => {
    const getToken = () => Promise.reject(new TypeError(message));
    const { uploader } = await start({}, { getToken, patience: 0 });
    assert.equal((await failureOf(uploader.upload(file))).retryable, true);
  });
}

for (const [name, getToken] of [
  ["undefined.token", async () => undefined.token],
  ["undefined.fetchToken", async () => undefined.fetchToken()],
]) {
  test(`a defect in the app's function, ${name}, is told at once`, async () => {
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
  test(`${what} in place of a token is named at once, and the token is not`, async () => {
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
  test(`${what} in place of a token says that nobody is signed in`, async () => {
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

test("a lost connection of the token's request is said in plain words", async () => {
  const getToken = () => Promise.reject(new TypeError("Failed to fetch"));
  const { uploader } = await start({}, { getToken, patience: 0 });
  const error = await failureOf(uploader.upload(file));
  assert.equal(error.message, "Can't reach the server. Check your connection and try again.");
  assert.equal(error.cause.message, "Failed to fetch");
});

test("a line break behind the token does no harm", async () => {
  const { server, uploader } = await start({}, { getToken: async () => "token-1\n" });
  await uploader.upload(file);
  assert.equal(server.at(BEGIN)[0].headers.authorization, "Bearer token-1");
});

for (const [how, answers, getToken] of [
  [
    "a token that can't be had",
    [done],
    // The presign goes well.
    (asked) => (asked < 1 ? "token-1" : Promise.reject(new Error("Please sign in."))),
  ],
  ["a second 401", [problem(401, "unauthorized"), problem(401, "unauthorized"), done], String],
]) {
  test(`${how} at the end leaves what has landed, for another try`, async () => {
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
