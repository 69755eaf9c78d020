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

/** Lets esbuild find modules that are no files, by the names they are imported by. */
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

/** Bundles a module as an app would, which has the client installed; an import of nothing fails. */
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
 * Opens pages in Chromium, one for each test, from a server that also plays their broker and storage.
 * `open(contents, overrides, modules, body)` gives the page and the server, whose routes the overrides change; they may be a function of its address.
 */
export function setPages() {
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
    // Before the server, which nobody would stop if this failed.
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

/** Chooses a file of five bytes in the page's first file input. */
export async function choose(page, selector = "input[type=file]") {
  const input = await page.waitForSelector(selector);
  await input.evaluate((element) => {
    const files = new DataTransfer();
    files.items.add(new File(["01234"], "take.mp4", { type: "video/mp4" }));
    element.files = files.files;
    element.dispatchEvent(new Event("change", { bubbles: true }));
  });
}

/** A script for one route that answers when it may. */
export function held(answer = { body: "" }) {
  let release;
  const opened = new Promise((resolve) => {
    release = resolve;
  });
  return { script: [{ ...answer, before: () => opened }], release };
}
