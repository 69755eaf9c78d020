import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { compile } from "svelte/compiler";
import { compileScript, parse } from "vue/compiler-sfc";
import { fileNameOf } from "../../client/names.js";
import { test } from "../bounded.js";
import { blockOf, blocks, codeOf, page, section } from "./client-page.js";
import { BEGIN, bundle, CANCEL, choose, held, PUT, REFUSAL, setUpPages } from "./page.js";
import { goodScripts, problem } from "./server.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const types = await readFile(`${ROOT}/client/index.d.ts`, "utf8");
const open = setUpPages();

/** Return the code with the test's own server as the broker. */
const local = (code) => code.replace('"https://uploads-api.example.com"', "location.origin");
const uploader = { "./uploader": local(codeOf("uploader")) };

/** Return the second cells of a section's tables, by the name in the first cell. */
const rows = (title) =>
  Object.fromEntries(
    [...section(title).matchAll(/^\| `(.*?)` \| (.*?) \|/gm)].map(([, name, second]) => [
      name,
      second,
    ]),
  );

/** Return the names of an interface's fields. */
function members(name) {
  const body = types
    .split(`interface ${name} `)[1]
    .split("\n}")[0]
    .replace(/\/\*\*.*?\*\//gs, "");
  return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member);
}

test("the page lists every option of createUploader with its default", async () => {
  const listed = rows("Options of `createUploader`");
  assert.deepEqual(Object.keys(listed), members("UploaderOptions"));
  const source = await readFile(`${ROOT}/client/uploader.js`, "utf8");
  const [, defaults] = source.match(/const \{(.*)\} = options/);
  const found = [...defaults.matchAll(/(\w+) = (\d+)/g)];
  assert.equal(found.length, 3);
  for (const [, name, value] of found) assert.equal(listed[name], `\`${value}\``);
});

test("the page lists every option of upload", () => {
  const names = [...members("Labels"), ...members("UploadOptions")];
  assert.deepEqual(Object.keys(rows("Options of `upload(file, options)`")).sort(), names.sort());
});

test("the page lists every class of errors and every code of the client", async () => {
  const listed = Object.keys(rows("Errors"));
  const source = await Promise.all(
    (await readdir(`${ROOT}/client`, { recursive: true }))
      .filter((name) => name.endsWith(".js"))
      .map((name) => readFile(`${ROOT}/client/${name}`, "utf8")),
  ).then((modules) => modules.join("\n"));
  const classes = [...source.matchAll(/export class (\w+Error)/g)].map(([, name]) => name);
  assert.equal(classes.length, 6);
  for (const name of classes) assert.ok(listed.includes(name), name);
  const codes = [...source.matchAll(/\bcode(?::| =) ([^\n]*)/g)].flatMap(([, value]) =>
    [...value.matchAll(/"(\w+)"/g)].map(([, code]) => code),
  );
  const members = [
    "code",
    "status",
    "retryable",
    "requestId",
    "retryAfter",
    "errors",
    "cause",
    "hint",
    "upload",
  ];
  const rest = listed.filter((name) => !classes.includes(name) && !members.includes(name));
  assert.deepEqual(rest.sort(), [...new Set(codes)].sort());
  for (const code of codes) assert.ok(types.includes(`\`${code}\``), `${code} is not in the types`);
});

test("the quick start has ten lines, and uploads", async () => {
  const code = local(codeOf("quick-start"));
  assert.equal(code.trim().split("\n").length, 10);
  const html = '<input type="file"><output></output>';
  const opened = await open(code, {}, {}, html);
  await choose(opened.page);
  await opened.page.waitForFunction(
    () => document.querySelector("output").textContent === "asset-1",
  );
  assert.equal(opened.server.at(PUT)[0].body.toString(), "01234");
});

const OTHERS = ["clerk", "supabase", "better-auth"];
const LOADERS = { js: "jsx", jsx: "jsx", ts: "ts", vue: "ts", svelte: "ts" };

for (const [index, { language, role, code }] of blocks.entries()) {
  // The packages of other services are not installed here.
  if (["sh", "html"].includes(language) || OTHERS.includes(role)) continue;
  test(`block ${index + 1}, in ${language}, imports modules that exist`, async () => {
    const script = code.match(/<script.*?>\n([\s\S]*)<\/script>/)?.[1] ?? code;
    assert.ok((await bundle(script, uploader, LOADERS[language])).length > 0);
  });
}

test("a block that imports a missing name fails", async () => {
  const wrong = 'import { upload } from "sync-upload-broker-client"; upload();';
  await assert.rejects(bundle(wrong), /No matching export/);
});

test("the quick start reports that the backend returns no token", async () => {
  const code = local(codeOf("quick-start"));
  const html = '<input type="file"><output></output>';
  const {
    page: tab,
    server,
    errors,
  } = await open(code, { "GET /token": [{ status: 401, body: "Unauthorized" }] }, {}, html);
  await choose(tab);
  await server.arrival("GET /token");
  while (errors.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.match(errors[0].message, /You are not signed in: getToken gave no token/);
  assert.equal(server.at(BEGIN).length, 0);
});

test("the sandbox's block sends the sandbox's token to the broker", async () => {
  const code = codeOf("sandbox")
    .replace('"http://127.0.0.1:8000"', "location.origin")
    .replace("http://127.0.0.1:8080", "");
  const { page: tab, server } = await open(`${code}\nwindow.uploader = uploader;`, {
    "GET /token?sub=alice": [{ body: { token: "token-2", expiresIn: 300 } }],
  });
  await tab.waitForFunction(() => window.uploader);
  await tab.evaluate(() => window.uploader.limits());
  assert.equal(server.at("GET /limits")[0].headers.authorization, "Bearer token-2");
});

test("the plain recipe shows a bar for each file, then the asset's id or the error", async () => {
  const refused = { status: 422, body: { code: "invalid_input", detail: "No." } };
  const overrides = (url) => ({ [BEGIN]: [goodScripts(url)[BEGIN][0], refused] });
  const opened = await open(blockOf("Plain"), overrides, uploader, blockOf("Plain", "html"));
  await choose(opened.page);
  const shown = (count) =>
    opened.page
      .waitForFunction(
        (wanted) => {
          const words = [...document.querySelectorAll("output")].map((one) => one.textContent);
          return words.length === wanted && words.every(Boolean) && words;
        },
        {},
        count,
      )
      .then((handle) => handle.jsonValue());
  assert.deepEqual(await shown(1), ["take.mp4 is asset asset-1"]);
  await choose(opened.page);
  assert.deepEqual(await shown(2), ["No.", "take.mp4 is asset asset-1"]);
  const bars = await opened.page.$$eval("progress", (all) => all.map(({ value }) => value));
  assert.deepEqual(bars, [0, 1]);
});

test("the React recipe uploads, and shows the asset's id", async () => {
  const code = `${blockOf("React")}
    import { createRoot } from "react-dom/client";
    createRoot(document.querySelector("#app")).render(<Upload />);`;
  const opened = await open(code, {}, uploader);
  await choose(opened.page);
  const output = await opened.page.waitForSelector("output");
  assert.equal(await output.evaluate((element) => element.textContent), "asset-1");
});

for (const [framework, component, mount] of [
  [
    "Vue",
    () => {
      const { descriptor, errors } = parse(blockOf("Vue"));
      assert.deepEqual(errors, []);
      return compileScript(descriptor, { id: "recipe", inlineTemplate: true }).content;
    },
    'import { createApp } from "vue"; createApp(Recipe).mount("#app");',
  ],
  [
    "Svelte",
    () => {
      const { js, warnings } = compile(blockOf("Svelte"), { filename: "Recipe.svelte" });
      assert.deepEqual(warnings, []);
      return js.code;
    },
    'import { mount } from "svelte"; mount(Recipe, { target: document.querySelector("#app") });',
  ],
]) {
  const code = `import Recipe from "./recipe.js"; ${mount}`;
  const openRecipe = (overrides) =>
    open(code, overrides, { ...uploader, "./recipe.js": component() });

  test(`the ${framework} recipe uploads, and shows the asset's id`, async () => {
    const { page: tab, server, errors } = await openRecipe({});
    await choose(tab);
    const output = await tab.waitForSelector("output");
    assert.equal(await output.evaluate((element) => element.textContent), "asset-1");
    assert.equal(server.at(PUT)[0].body.toString(), "01234");
    assert.deepEqual(errors, []);
  });

  test(`the ${framework} recipe shows a refusal in the broker's words`, async () => {
    const { page: tab } = await openRecipe({ [BEGIN]: [REFUSAL] });
    await choose(tab);
    const alert = await tab.waitForSelector("[role=alert]");
    assert.equal(await alert.evaluate((element) => element.textContent), "The server's own words.");
  });

  test(`the ${framework} recipe cancels, and shows no error`, async () => {
    const { script, release } = held();
    const { page: tab, server } = await openRecipe({ [PUT]: script });
    await choose(tab);
    await server.arrival(PUT);
    await (await tab.waitForSelector("progress + button")).click();
    await server.arrival(CANCEL);
    await tab.waitForFunction(() => !document.querySelector("progress, [role=alert]"));
    release();
  });
}

test("the Uppy recipe uploads, and logs the asset's id", async () => {
  const opened = await open(`${blockOf("Uppy")}\nwindow.uppy = uppy;`, {}, uploader);
  const { page: tab } = opened;
  const lines = [];
  tab.on("console", (message) => lines.push(message.text()));
  await tab.waitForFunction(() => window.uppy);
  await tab.evaluate(() => {
    const data = new File(["01234"], "take.mp4", { type: "video/mp4" });
    window.uppy.addFile({ name: data.name, type: data.type, data });
    return window.uppy.upload();
  });
  assert.ok(lines.includes("take.mp4 asset-1"), `${lines}`);
});

test("the recording recipe uploads the recording with the recorder's own type", async () => {
  const code = `${blockOf("Recordings")}\nwindow.record = record;`;
  const { page: tab, server } = await open(code, {}, uploader);
  await tab.waitForFunction(() => window.record);
  const id = await tab.evaluate(async () => {
    // A slow machine may have recorded nothing yet.
    for (let length = 300; ; length *= 2) {
      const end = await window.record();
      await new Promise((resolve) => setTimeout(resolve, length));
      const { asset, code } = await end().catch((error) => error);
      if (code !== "file_empty") return asset?.id ?? code;
    }
  });
  assert.equal(id, "asset-1");
  const { contentType } = JSON.parse(server.at(BEGIN)[0].body);
  assert.equal(contentType, "video/webm;codecs=vp8,opus");
});

for (const [how, overrides, last] of [
  ["uploads, and posts the asset", {}, { asset: { id: "asset-1", type: "VIDEO" } }],
  [
    "posts the error",
    { [BEGIN]: [REFUSAL] },
    { error: { code: "invalid_request", message: "The server's own words." } },
  ],
]) {
  test(`the web worker ${how}`, async () => {
    const body = await bundle(codeOf("worker"));
    const script = { headers: { "Content-Type": "text/javascript" }, body };
    const opened = await open("", { ...overrides, "GET /worker.js": [script] });
    const messages = await opened.page.evaluate(
      () =>
        new Promise((resolve) => {
          const worker = new Worker("/worker.js", { type: "module" });
          const received = [];
          worker.onmessage = ({ data }) => {
            received.push(data);
            if (data.asset || data.error) resolve(received);
          };
          const file = new File(["01234"], "take.mp4", { type: "video/mp4" });
          worker.postMessage({ endpoint: location.origin, token: "token-1", file });
        }),
    );
    assert.deepEqual(messages.at(-1), last);
    assert.equal(messages[0].phase, "waiting");
  });
}

test("the own interface shows pauses, time left and queue position, and resumes an unfinished upload", async () => {
  const code = `${blockOf("Your own interface")}\nObject.assign(window, { narrator, resumeOrBegin, RateLimitError });`;
  // The broker knows a shorter name than the file has.
  const name = `${"take ".repeat(60)}.mp4`;
  const fileName = fileNameOf({ name, type: "video/mp4" });
  const left = { id: "upload-1", status: "pending", fileName, size: 5, asset: null };
  const opened = await open(
    code,
    {
      "GET /uploads?limit=100": [{ body: { items: [left] } }],
      "GET /uploads/upload-1": [{ body: left }],
      "POST /uploads/upload-1/complete": [
        problem(409, "file_not_uploaded", { retryable: false }),
        problem(409, "file_not_uploaded", { retryable: false }),
        { body: { ...left, status: "registered", asset: { id: "asset-1" } } },
      ],
    },
    uploader,
  );
  await opened.page.waitForFunction(() => window.resumeOrBegin);
  const shown = await opened.page.evaluate(async (chosen) => {
    const describe = window.narrator();
    const base = { total: 1000, phase: "uploading" };
    const error = new window.RateLimitError("Full.", { code: "queue_full", position: 7 });
    const texts = [describe({ phase: "waiting", loaded: 0, total: 1000, wait: 2, error })];
    texts.push(describe({ phase: "waiting", loaded: 0, wait: 1.2, error: new Error("Gone.") }));
    texts.push(describe({ ...base, loaded: 0 }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    texts.push(describe({ ...base, loaded: 500 }));
    const file = new File(["01234"], chosen, { type: "video/mp4" });
    const { asset } = await window.resumeOrBegin(file);
    return { texts, id: asset.id };
  }, name);
  assert.deepEqual(shown.texts.slice(0, 3), [
    "Number 7 in the queue",
    "Gone. Next try in 2 s",
    "uploading",
  ]);
  assert.match(shown.texts[3], /^\d+ s left$/);
  assert.equal(shown.id, "asset-1");
  assert.equal(opened.server.at("POST /uploads").length, 0);
});

test("the page's sizes are of the clients and versions that the benchmark measures", () => {
  const read = (text) => [...text.matchAll(/^\| ([^|]+) \| ([\d.]+) \| (\d+) \| (\d+) \|/gm)];
  const measured = read(
    execFileSync("node", [`${ROOT}/benchmarks/client_bytes.js`], { encoding: "utf8" }),
  );
  const listed = read(page);
  assert.equal(measured.length, 8);
  const names = (found) => found.map(([, title, version]) => [title, version]);
  assert.deepEqual(names(listed), names(measured));
  for (const [index, row] of measured.entries()) {
    // The core changes by some bytes from time to time.
    const ratio = Number(row[4]) / Number(listed[index][4]);
    assert.ok(Math.abs(ratio - 1) < 0.05, `${row[1]} has ${row[4]} bytes`);
  }
});
