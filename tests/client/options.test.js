import assert from "node:assert/strict";
import { createUploader } from "../../client/index.js";
import { test } from "../bounded.js";
import { failureOf, setUpUploader, startServer } from "./server.js";

const endpoint = "https://uploads-api.example.com";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });
const start = setUpUploader();

const URL_WANTED = /^createUploader: endpoint must be the broker's full URL, such as https:/;

for (const wrong of [
  undefined,
  null,
  "",
  " ",
  7,
  {},
  "/api",
  "api/uploads",
  "//api.example.com",
  "localhost:8000",
  "api.example.com",
  "api.example.com:443/uploads",
  "ftp://api.example.com",
  "ws://api.example.com",
  "undefined",
  "undefined/uploads",
  "https://",
]) {
  test(`the endpoint ${JSON.stringify(wrong)} is refused by createUploader`, () => {
    assert.throws(
      () => createUploader({ endpoint: wrong, getToken: "token-1" }),
      (error) => {
        assert.ok(error instanceof TypeError);
        assert.match(error.message, URL_WANTED);
        return true;
      },
    );
  });
}

test("missing options are refused with the message for the endpoint", () => {
  assert.throws(() => createUploader(), { name: "TypeError", message: URL_WANTED });
});

for (const wrong of [undefined, null, "", 7, {}, Promise.resolve("token-1")]) {
  test(`getToken as ${wrong === "" ? "an empty string" : Object.prototype.toString.call(wrong)} is refused by createUploader`, () => {
    assert.throws(() => createUploader({ endpoint, getToken: wrong }), {
      name: "TypeError",
      message:
        "createUploader: getToken must be a function that returns the user's token, or that token.",
    });
  });
}

for (const name of ["concurrency", "patience", "stallTimeout"])
  test(`${name} must be a number of 0 or more`, () => {
    for (const wrong of ["3", Number.NaN, -1, {}])
      assert.throws(() => createUploader({ endpoint, getToken: "t", [name]: wrong }), {
        name: "TypeError",
        message: `createUploader: ${name} must be a number, 0 or more.`,
      });
    for (const right of [undefined, 0, 2.5, Number.POSITIVE_INFINITY])
      createUploader({ endpoint, getToken: "t", [name]: right });
  });

test("the endpoint may be a URL object, or text with spaces, a path and trailing slashes", async () => {
  const server = await startServer({ "GET /stage/limits": [{ body: { maxUploadBytes: 5 } }] });
  for (const right of [new URL(`${server.url}/stage`), ` ${server.url}/stage//\n`])
    await createUploader({ endpoint: right, getToken: "token-1" }).limits();
  assert.equal(server.at("GET /stage/limits").length, 2);
  await server.stop();
});

test("an upload without XMLHttpRequest is refused before any request", async () => {
  const { server } = await start();
  const uploader = createUploader({ endpoint: server.url, getToken: "token-1" });
  const error = await failureOf(uploader.upload(file));
  assert.deepEqual(
    [error.name, error.code, error.message],
    ["RefusedError", "no_xhr", "Uploads need XMLHttpRequest."],
  );
  assert.deepEqual(server.routes(), []);
});

for (const [pasted, sent] of [
  ["https://bücher.example/x.mp4", "https://xn--bcher-kva.example/x.mp4"],
  ["  https://media.example/talk.mp4\n", "https://media.example/talk.mp4"],
  ["HTTPS://Media.Example/Talk 1.mp4", "https://media.example/Talk%201.mp4"],
  ["https://media.example:443/a/../b.mp4", "https://media.example/b.mp4"],
  [
    "https://media.example/привет.mp4",
    "https://media.example/%D0%BF%D1%80%D0%B8%D0%B2%D0%B5%D1%82.mp4",
  ],
]) {
  test(`the pasted URL ${JSON.stringify(pasted)} is registered as a browser writes it`, async () => {
    const { server, uploader } = await start({
      "POST /assets": [{ body: { asset: { id: "a" } } }],
    });
    await uploader.registerUrl({ url: pasted, type: "VIDEO" });
    assert.equal(JSON.parse(server.at("POST /assets")[0].body).url, sent);
  });
}

for (const pasted of [
  "",
  "talk.mp4",
  "media.example/talk.mp4",
  "localhost:8000/x.mp4",
  "file:///x.mp4",
]) {
  test(`"${pasted}" is refused as no web address before any request`, async () => {
    const { server, uploader } = await start();
    const error = await failureOf(uploader.registerUrl({ url: pasted, type: "VIDEO" }));
    assert.deepEqual(
      [error.name, error.code, error.message],
      [
        "RefusedError",
        "invalid_url",
        `"${pasted}" is no web address. Paste one that begins with https://`,
      ],
    );
    assert.deepEqual(server.routes(), []);
  });
}
