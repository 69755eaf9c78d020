import { after, afterEach, before } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { launchBrowser } from "../browser/browser.js";
import { goodScripts, startServer } from "./server.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const RESOLVE = `${ROOT}/docs/examples`;

/** Lets esbuild find modules that are no files, by the names they are imported by. */
const given = (modules) => ({
  name: "given",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\// }, ({ path, importer }) =>
      importer === "<stdin>" && modules[path] ? { path, namespace: "given" } : undefined,
    );
    onLoad({ filter: /./, namespace: "given" }, ({ path }) => ({
      contents: modules[path],
      loader: "jsx",
      resolveDir: RESOLVE,
    }));
  },
});

/** Bundles a module as an app would, which has the client installed; an import of nothing fails. */
export async function bundle(contents, modules = {}) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: RESOLVE, loader: "jsx" },
    plugins: [given(modules)],
    external: ["vue"],
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
    },
    write: false,
    outdir: "/",
  });
  return outputFiles[0].text;
}

/**
 * Opens pages in Chromium, one for each test, from a server that also plays their broker and storage.
 * `open(contents, overrides, modules, body)` gives the page and the server, whose routes the overrides change.
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
    const scripts = {};
    const server = await startServer(scripts);
    const html = `<!doctype html><title>Test</title>${body}`;
    Object.assign(scripts, goodScripts(server.url), overrides, {
      "GET /": [
        {
          headers: { "Content-Type": "text/html" },
          body: `${html}<script type="module" src="/page.js"></script>`,
        },
      ],
      "GET /page.js": [
        { headers: { "Content-Type": "text/javascript" }, body: await bundle(contents, modules) },
      ],
      "GET /token": [{ body: "token-1" }],
    });
    const page = await browser.newPage();
    running.push(() => page.close().then(() => server.stop()));
    const errors = [];
    page.on("pageerror", (error) => errors.push(error));
    await page.goto(server.url);
    return { page, server, errors };
  };
}

/** A promise that is kept by hand. */
export const gate = () => {
  let open;
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { open, opened };
};
