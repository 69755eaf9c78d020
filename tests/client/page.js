import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { after, afterEach, before } from "../bounded.js";
import { launchBrowser } from "../browser/browser.js";
import { goodScripts, problem, startServer } from "./server.js";

export const BEGIN = "POST /uploads";
export const COMPLETE = "POST /uploads/upload-1/complete";
export const CANCEL = "DELETE /uploads/upload-1";
export const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
export const REFUSAL = problem(422, "invalid_request", { retryable: false });
export const BUSY = { status: 503, body: "" };
export const DONE = { body: { status: "registered", asset: { id: "asset-2" } } };

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const RESOLVE = `${ROOT}/docs/examples`;

/** Return a plugin that resolves imports to the text of modules that are no files. */
const given = (modules) => ({
  name: "given",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\// }, ({ path, importer, namespace }) =>
      (importer === "<stdin>" || namespace === "given") && modules[path]
        ? { path, namespace: "given" }
        : undefined,
    );
    onLoad({ filter: /./, namespace: "given" }, ({ path }) => ({
      contents: modules[path],
      loader: "tsx",
      resolveDir: RESOLVE,
    }));
  },
});

/** Bundle a module as an app does that has the client installed. An import of a missing name fails. */
export async function bundle(contents, modules = {}, loader = "tsx") {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: RESOLVE, loader },
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
    plugins: [given(modules)],
    logLevel: "silent",
    bundle: true,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    loader: { ".css": "empty" },
    alias: { "sync-upload-broker-client": `${ROOT}/client` },
    define: {
      "import.meta.env.VITE_BROKER": "location.origin",
      "process.env.NODE_ENV": '"development"',
      __VUE_OPTIONS_API__: "false",
      __VUE_PROD_DEVTOOLS__: "false",
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
    },
    write: false,
    outdir: "/",
  });
  return outputFiles[0].text;
}

/**
 * Return a function that opens a page in Chromium, from a server that is also the page's broker and storage.
 *
 * `open(contents, overrides, modules, body)` returns the page and the server. The overrides replace routes of the server,
 * and may be a function of its URL.
 */
export function setUpPages() {
  let browser;
  let running = [];
  before(async () => {
    browser = await launchBrowser();
  });
  afterEach(async () => {
    await Promise.all(running.map((stop) => stop()));
    running = [];
  });
  after(() => browser?.close());

  return async (contents, overrides = {}, modules = {}, body = '<div id="app"></div>') => {
    // The bundle is made first: if it failed later, nothing would stop the server.
    const script = await bundle(contents, modules);
    const scripts = {};
    const server = await startServer(scripts);
    const html = `<!doctype html><title>Test</title>${body}`;
    const own = typeof overrides === "function" ? overrides(server.url) : overrides;
    Object.assign(scripts, goodScripts(server.url), { "GET /token": [{ body: "token-1" }] }, own, {
      "GET /": [
        {
          headers: { "Content-Type": "text/html" },
          body: `${html}<script type="module" src="/page.js"></script>`,
        },
      ],
      "GET /page.js": [{ headers: { "Content-Type": "text/javascript" }, body: script }],
    });
    const page = await browser.newPage();
    running.push(() => page.close().then(() => server.stop()));
    const errors = [];
    page.on("pageerror", (error) => errors.push(error));
    await page.goto(server.url);
    return { page, server, errors };
  };
}

/** Choose a file of five bytes in the page's first file input. */
export async function choose(page, selector = "input[type=file]") {
  const input = await page.waitForSelector(selector);
  await input.evaluate((element) => {
    const files = new DataTransfer();
    files.items.add(new File(["01234"], "take.mp4", { type: "video/mp4" }));
    element.files = files.files;
    element.dispatchEvent(new Event("change", { bubbles: true }));
  });
}

/** Return responses for one route that wait for `release`. */
export function held(answer = { body: "" }) {
  let release;
  const opened = new Promise((resolve) => {
    release = resolve;
  });
  return { script: [{ ...answer, before: () => opened }], release };
}
