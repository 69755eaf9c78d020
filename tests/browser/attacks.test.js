// Attacks of web pages in a developer's browser while the sandbox runs. The pages and the browser are real.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "../bounded.js";
import { launchBrowser } from "./browser.js";
import { DemoPage } from "./demo-page.js";
import { sampleNamed, until } from "./fixture.js";
import { freePorts, ROOT, startSystem } from "./system.js";

const FOREIGN = "evil.example";
const PORTS = ["broker", "upstream", "dynamodb", "demo"];
const FORMS = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
const user = `user-${randomUUID()}`;
let system;
let browser;
let folder;
let attackers;
let asset;
let contexts = [];
const servers = [];

/** Serve an empty page on a port, under every host name, and return the port. */
async function servePage(port) {
  const server = createServer((_request, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end("<!doctype html><title>A page</title><body></body>");
  }).listen(port, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return server.address().port;
}

/** Open a page that collects the system's responses to it: `{ url, method, status }`. */
async function open(url) {
  const context = await browser.createBrowserContext();
  contexts.push(context);
  const page = await context.newPage();
  page.responses = [];
  page.on("response", (response) => {
    const { host, port } = new URL(response.url());
    if (!PORTS.some((name) => new URL(system[name]).port === port)) return;
    const method = response.request().method();
    page.responses.push({ url: `${host} ${response.url()}`, method, status: response.status() });
  });
  // Responses that the browser hides from the page, such as a refusal in place of a picture, are only visible here.
  const network = await page.createCDPSession();
  await network.send("Network.enable");
  const urls = new Map();
  const statuses = new Map();
  network.on("Network.requestWillBeSent", ({ requestId, request }) =>
    urls.set(requestId, request.url),
  );
  network.on("Network.responseReceivedExtraInfo", ({ requestId, statusCode }) =>
    statuses.set(requestId, statusCode),
  );
  page.mediaStatuses = () =>
    [...urls]
      .filter(([, target]) => target.startsWith(system.upstream))
      .map(([id]) => statuses.get(id));
  await page.goto(url);
  return page;
}

/** Assert that the system refused all requests of this page, and that there were enough of them. */
function assertRefused(page, atLeast = 1) {
  assert.ok(page.responses.length >= atLeast, `${page.responses.length} responses`);
  for (const response of page.responses)
    assert.equal(response.status, 403, JSON.stringify(response));
}

/** Send a request in each mode of `fetch`, and return the texts that the page can read, or null for a failure. */
const send = (page, url, options = {}) =>
  page.evaluate(
    async (target, chosen) => {
      const read = [];
      for (const mode of ["no-cors", "cors"]) {
        const text = await fetch(target, { ...chosen, mode })
          .then((response) => response.text())
          .catch(() => null);
        read.push(text);
      }
      return read;
    },
    url,
    options,
  );

/** Return the system's state, which no attack may change. */
async function state() {
  const control = async (path) => (await fetch(`${system.upstream}/_sandbox/${path}`)).json();
  return {
    faults: await control("faults"),
    behaviour: await control("behavior"),
    journal: (await control("requests")).filter(({ outcome }) => !/^listed/.test(outcome)),
    assets: (await system.ask(user, "/assets")).items.map(({ id }) => id),
  };
}

/** Return the definition of a Lambda function that writes a file. The emulator takes its code as a zip in Base64. */
function lambda(mark) {
  const code = `import pathlib\ndef handler(event, context):\n    pathlib.Path(${JSON.stringify(mark)}).write_text("ran")`;
  const script =
    "import base64, io, sys, zipfile; out = io.BytesIO(); z = zipfile.ZipFile(out, 'w');" +
    "z.writestr('index.py', sys.argv[1]); z.close(); print(base64.b64encode(out.getvalue()).decode())";
  const ZipFile = String(execFileSync(join(ROOT, ".venv/bin/python"), ["-c", script, code])).trim();
  return JSON.stringify({
    FunctionName: "owned",
    Runtime: "python3.12",
    Handler: "index.handler",
    Role: "arn:aws:iam::000000000000:role/any",
    Timeout: 20,
    Code: { ZipFile },
  });
}

/** Create the function and call it, without a request that needs a preflight. */
const runCode = (page, emulator, mark) =>
  page.evaluate(
    async (base, body) => {
      const post = (path, text) =>
        fetch(base + path, { method: "POST", mode: "no-cors", body: text }).catch(() => {});
      await post("/2015-03-31/functions", body);
      for (const _ of [1, 2, 3]) {
        await post("/2015-03-31/functions/owned/invocations", "{}");
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    },
    emulator,
    lambda(mark),
  );

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "attacks-"));
  system = await startSystem();
  browser = await launchBrowser(`--host-resolver-rules=MAP ${FOREIGN} 127.0.0.1`);
  await servePage(new URL(system.page).port);
  const [free] = await freePorts(1);
  const port = await servePage(free);
  attackers = {
    "a page on another port": `http://127.0.0.1:${port}/`,
    "a page under localhost": `http://localhost:${port}/`,
    "a page of a foreign host": `http://${FOREIGN}:${port}/`,
  };
  const demo = new DemoPage(await (await browser.createBrowserContext()).newPage(), user);
  await demo.visit(system.demo);
  const [done] = await demo.upload(sampleNamed("sample.mp4"));
  asset = (await system.ask(user, `/assets/${done.assetId}`)).asset;
  await demo.page.close();
});

afterEach(async () => {
  await Promise.all(contexts.map((context) => context.close()));
  contexts = [];
  await system.restore();
});

after(async () => {
  await browser?.close();
  await system?.stop();
  for (const server of servers) server.close();
  await rm(folder, { recursive: true, force: true });
});

test("without the gate, a page can run code on the emulator", async () => {
  const [port] = await freePorts(1);
  const mark = join(folder, "control");
  const bare = spawn(join(ROOT, ".venv-ministack/bin/ministack"), [], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      BIND_HOST: "127.0.0.1",
      GATEWAY_PORT: port,
      HOME: folder,
      TMPDIR: folder,
      IOT_MTLS_ENABLED: "0",
      SFTP_ENABLED: "0",
      DOCKER_HOST: "unix:///nowhere",
    },
    stdio: "ignore",
  });
  const ended = once(bare, "exit");
  try {
    const url = `http://127.0.0.1:${port}`;
    await until(() =>
      fetch(`${url}/_ministack/health`).then(
        () => true,
        () => false,
      ),
    );
    const page = await open(attackers["a page of a foreign host"]);
    await runCode(page, url, mark);
    await until(() => existsSync(mark));
    assert.equal(await readFile(mark, "utf8"), "ran");
  } finally {
    bare.kill("SIGTERM");
    await ended;
  }
});

for (const name of [
  "a page on another port",
  "a page under localhost",
  "a page of a foreign host",
]) {
  describe(name, () => {
    let page;
    let earlier;

    /** Open the attacker's page, attack, and assert that all requests were refused and nothing changed. */
    const attack = (title, work, requests) =>
      test(`${name} ${title}`, async () => {
        earlier = await state();
        page = await open(attackers[name]);
        await work(page);
        assertRefused(page, requests);
        assert.deepEqual(await state(), earlier);
      });

    attack(
      "can't run code on the emulator",
      async () => {
        const mark = join(folder, randomUUID());
        await runCode(page, system.dynamodb, mark);
        assert.ok(!existsSync(mark));
      },
      4,
    );

    attack(
      "can't read or delete the table, or reset the emulator",
      async () => {
        const call = (operation, type) => ({
          method: "POST",
          headers: { "X-Amz-Target": `DynamoDB_20120810.${operation}`, "Content-Type": type },
          body: JSON.stringify({ TableName: "uploads" }),
        });
        for (const operation of ["Scan", "DeleteTable"])
          for (const type of ["application/x-amz-json-1.0", "text/plain"])
            assert.deepEqual(await send(page, system.dynamodb, call(operation, type)), ["", null]);
        for (const path of ["/_ministack/reset", "/_ministack/health", "/?Action=ListTables"])
          assert.deepEqual(await send(page, system.dynamodb + path, { method: "POST" }), [
            "",
            null,
          ]);
      },
      6,
    );

    attack(
      "can't inject a fault, or reset the upstream",
      async () => {
        const body = JSON.stringify({
          do: { kind: "answer", status: 200, body: "<script>", headers: {} },
        });
        const types = [
          {},
          { "Content-Type": "text/plain" },
          { "Content-Type": "application/json" },
        ];
        for (const headers of types)
          for (const path of ["faults", "reset", "behavior"])
            await send(page, `${system.upstream}/_sandbox/${path}`, {
              method: "POST",
              headers,
              body,
            });
        await send(page, `${system.upstream}/_sandbox/faults`, { method: "DELETE" });
      },
      9,
    );

    attack(
      "can't read any port",
      async () => {
        const paths = {
          broker: ["/health", "/openapi.json", "/limits"],
          upstream: ["/", "/_sandbox/requests", "/v2/assets", new URL(asset.url).pathname],
          dynamodb: ["/"],
          demo: ["/", "/config.json", `/token?sub=${user}`, "/samples/sample.mp4"],
        };
        for (const port of PORTS)
          for (const path of paths[port])
            assert.deepEqual(await send(page, system[port] + path), ["", null], `${port} ${path}`);
      },
      12,
    );

    attack("can't load a token as a script, a style sheet or a frame", async () => {
      const token = `${system.demo}/token?sub=${user}`;
      const events = await page.evaluate(
        (url) =>
          Promise.all(
            ["script", "link", "iframe"].map(
              (tag) =>
                new Promise((resolve) => {
                  const element = document.createElement(tag);
                  if (tag === "link") element.rel = "stylesheet";
                  element[tag === "link" ? "href" : "src"] = url;
                  element.onload = () => resolve("load");
                  element.onerror = () => resolve("error");
                  document.body.append(element);
                }),
            ),
          ),
        token,
      );
      assert.deepEqual(events.slice(0, 2), ["error", "error"]);
      for (const frame of page.frames().slice(1)) {
        const text = await frame.evaluate(() => document.body?.textContent ?? "");
        assert.doesNotMatch(text, /eyJ/);
      }
    });

    attack(
      "can't send a form to any port",
      async () => {
        for (const port of PORTS)
          for (const enctype of FORMS)
            for (const path of ["/", "/uploads", "/v2/assets", "/_sandbox/reset", "/token"]) {
              const count = page.responses.length;
              await page.evaluate(
                (action, type) => {
                  const frame = document.createElement("iframe");
                  frame.name = `frame-${Math.random()}`;
                  const form = document.createElement("form");
                  Object.assign(form, {
                    action,
                    enctype: type,
                    method: "post",
                    target: frame.name,
                  });
                  const field = document.createElement("input");
                  Object.assign(field, { name: '{"do":{"kind":"cut"},"x":"', value: '"}' });
                  form.append(field);
                  document.body.append(frame, form);
                  form.submit();
                },
                system[port] + path,
                enctype,
              );
              await until(() => page.responses.length > count);
            }
      },
      PORTS.length * FORMS.length * 5,
    );

    test(`${name} can't show a picture, a video or a thumbnail`, async () => {
      page = await open(attackers[name]);
      assert.deepEqual(await shown(page), ["error", "error", "error", "error"]);
      await until(() => !page.mediaStatuses().includes(undefined));
      assert.deepEqual(page.mediaStatuses(), [403, 403, 403, 403]);
    });

    attack(
      "can't open a page of the sandbox, and the refusal explains how a developer can",
      async () => {
        for (const port of ["broker", "upstream", "demo"]) {
          await page.goto(attackers[name]);
          const [response] = await Promise.all([
            page.waitForNavigation(),
            page.evaluate((url) => {
              location.href = url;
            }, `${system[port]}/`),
          ]);
          assert.match(await response.text(), /paste the URL into the address bar/);
        }
      },
      3,
    );
  });
}

/** Load the asset by elements, with CORS and without, and return the outcome of each. */
const shown = (page, tags = ["video", "img", "video cors", "img cors"]) =>
  page.evaluate(
    (media, thumbnail, wanted) =>
      Promise.all(
        wanted.map(
          (what) =>
            new Promise((resolve) => {
              const [tag, cors] = what.split(" ");
              const element = document.createElement(tag);
              if (cors) element.crossOrigin = "anonymous";
              element.onerror = () => resolve("error");
              element.onload = () => resolve("shown");
              element.onloadedmetadata = () => resolve("shown");
              element.preload = "metadata";
              // The random query keeps the browser from using its cache.
              element.src = `${tag === "img" ? thumbnail : media}?${Math.random()}`;
              document.body.append(element);
            }),
        ),
      ),
    asset.url,
    asset.thumbnailUrl,
    tags,
  );

for (const name of PORTS) {
  test(`DNS rebinding does not reach the ${name} port`, async () => {
    const { port } = new URL(system[name]);
    const page = await open(`http://${FOREIGN}:${port}/`);
    // After rebinding, the page's requests are same-origin, and have no `Origin`.
    const read = await page.evaluate(async () => {
      const responses = await Promise.all(
        ["/", "/token?sub=alice", "/health", "/_sandbox/requests"].map((path) =>
          // A page of the upstream has no origin, so its requests fail.
          fetch(path).catch(() => ({ status: 403 })),
        ),
      );
      return responses.map(({ status }) => status);
    });
    assert.deepEqual(read, [403, 403, 403, 403]);
    assertRefused(page);
  });
}

test("a fault's page runs no scripts, even if a user opens it", async () => {
  const script =
    '<!doctype html><title>looked at</title><script>document.title = "ran"; fetch("/v2/ran")</script>' +
    '<img src="/nowhere" onerror="document.title = `ran`">';
  await system.injectFault({
    match: { path: "/v2/looked-at" },
    do: {
      kind: "answer",
      status: 200,
      body: script,
      headers: { "Content-Type": "text/html", "Content-Security-Policy": "script-src *" },
    },
  });
  const page = await open(`${system.upstream}/v2/looked-at`);
  await page.waitForNetworkIdle({ idleTime: 300 });
  assert.equal(await page.title(), "looked at");
  const paths = page.responses.map(({ url }) => new URL(url.split(" ")[1]).pathname);
  assert.ok(!paths.includes("/v2/ran"));
});

for (const host of ["127.0.0.1", "localhost"]) {
  const named = (url) => url.replace("127.0.0.1", host);

  test(`the demo page works under ${host}, with pictures and videos`, async () => {
    const page = await open(named(system.demo));
    const demo = new DemoPage(page, user);
    await demo.visit(named(system.demo));
    const [{ assetId }] = await demo.upload(sampleNamed("sample.png"));
    assert.ok(assetId);
    await page.waitForFunction(() => document.querySelectorAll(".card img").length);
    await page.$eval(".card img", (image) => image.scrollIntoView());
    await page.waitForFunction(() => document.querySelector(".card img").naturalWidth > 0);
    assert.deepEqual(await shown(page), ["shown", "shown", "shown", "shown"]);
    assert.deepEqual(demo.consoleErrors, []);
    for (const { status, url } of page.responses) assert.ok(status < 400, `${status} ${url}`);
  });

  test(`a developer's page under ${host} can get a token, upload a file, and show it`, async () => {
    const page = await open(named(system.page));
    const stored = await page.evaluate(
      async ({ demo, broker }, sub) => {
        const { token } = await (await fetch(`${demo}/token?sub=${sub}`)).json();
        const call = async (path, body) =>
          (
            await fetch(broker + path, {
              method: "POST",
              headers: {
                Authorization: `Bearer ${token}`,
                ...(body && { "Content-Type": "application/json" }),
              },
              body: body && JSON.stringify(body),
            })
          ).json();
        const file = { fileName: "own.mp4", contentType: "video/mp4", size: 5 };
        const begun = await call("/uploads", file);
        const put = { method: begun.method, headers: begun.headers, body: "hello" };
        const { status } = await fetch(begun.uploadUrl, put);
        return { status, done: await call(`/uploads/${begun.id}/complete`) };
      },
      { demo: named(system.demo), broker: named(system.broker) },
      `own-${host}`,
    );
    assert.equal(stored.status, 200);
    assert.equal(stored.done.status, "registered");
    assert.deepEqual(await shown(page), ["shown", "shown", "shown", "shown"]);
    for (const { status, url } of page.responses) assert.ok(status < 400, `${status} ${url}`);
  });
}
