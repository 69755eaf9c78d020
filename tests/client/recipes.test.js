import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { compileScript, parse } from "vue/compiler-sfc";
import { after, before, test } from "../bounded.js";
import { blockOf, codeOf } from "./client-page.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PACKAGES = ["@types", "@uppy", "filepond", "react", "svelte", "vite", "vue"];
const run = promisify(execFile);

/** The strictest of the settings of Vite's TypeScript templates for React, Vue, Svelte and no framework. */
const TEMPLATE = {
  target: "es2023",
  lib: ["ES2023", "DOM"],
  module: "esnext",
  types: ["svelte", "vite/client"],
  skipLibCheck: true,
  moduleResolution: "bundler",
  allowImportingTsExtensions: true,
  verbatimModuleSyntax: true,
  moduleDetection: "force",
  noEmit: true,
  jsx: "react-jsx",
  strict: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  erasableSyntaxOnly: true,
  noFallthroughCasesInSwitch: true,
  noUncheckedSideEffectImports: true,
};

/** The declarations of other services' packages that the recipes use. */
const SERVICES = {
  "clerk.d.ts": `declare module "@clerk/react" {
    export function getToken(options?: { skipCache?: boolean }): Promise<string | null>;
  }`,
  "supabase.ts": `
    interface Answer { data: { session: { access_token: string } | null } }
    export declare const supabase: {
      auth: { getSession(): Promise<Answer>; refreshSession(): Promise<Answer> };
    };`,
  "auth-client.ts": `export declare const authClient: {
    token(): Promise<{ data: { token: string } | null }>;
  };`,
};

let folder;

/** Return the script of Svelte's recipe, with an export of the names that its markup uses. */
function svelteScript() {
  const [, script] = blockOf("Svelte").match(/<script.*?>\n([\s\S]*)<\/script>/);
  return `${script}\nexport { AbortError, controller, progress, send, sending };`;
}

/** Return the script of Vue's recipe, with its template as a function. */
const vueScript = () =>
  compileScript(parse(blockOf("Vue")).descriptor, { id: "recipe", inlineTemplate: true }).content;

/** Return the compiler's errors for these files in an app that was made from a template. */
async function compiled(files) {
  const app = await mkdtemp(join(folder, "app-"));
  await mkdir(join(app, "src"));
  await symlink(join(folder, "node_modules"), join(app, "node_modules"));
  const config = { compilerOptions: TEMPLATE, include: ["src"] };
  await writeFile(join(app, "tsconfig.json"), JSON.stringify(config));
  for (const [name, text] of Object.entries(files)) await writeFile(join(app, "src", name), text);
  return run(join(ROOT, "node_modules/.bin/tsc"), ["--project", app]).then(
    () => "",
    ({ stdout }) => stdout,
  );
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "recipes-"));
  const modules = join(folder, "node_modules");
  await mkdir(modules);
  await symlink(join(ROOT, "client"), join(modules, "sync-upload-broker-client"));
  for (const name of PACKAGES) await symlink(join(ROOT, "node_modules", name), join(modules, name));
});

after(() => rm(folder, { recursive: true, force: true }));

test("every recipe and example compiles in Vite's TypeScript templates", async () => {
  const files = {
    "uploader.ts": codeOf("uploader"),
    "quick-start.ts": codeOf("quick-start"),
    "sandbox.ts": codeOf("sandbox"),
    "worker.ts": codeOf("worker"),
    "plain.ts": blockOf("Plain"),
    "upload.tsx": blockOf("React"),
    "vue.ts": vueScript(),
    "svelte.ts": svelteScript(),
    "uppy.ts": blockOf("Uppy"),
    "recordings.ts": blockOf("Recordings"),
    "interface.ts": blockOf("Your own interface"),
  };
  const examples = await readdir(join(ROOT, "docs/examples"));
  const typed = examples.filter((name) => /\.tsx?$/.test(name));
  assert.equal(typed.length, 3);
  for (const name of typed)
    files[`example-${name}`] = await readFile(join(ROOT, "docs/examples", name), "utf8");
  assert.equal(await compiled(files), "");
});

test("the tokens of Clerk, Supabase and Better Auth fit getToken's type", async () => {
  const files = { ...SERVICES };
  for (const role of ["clerk", "supabase", "better-auth"])
    files[`${role}-uploader.ts`] = codeOf(role);
  assert.equal(await compiled(files), "");
});

test("a recipe with a type error fails to compile", async () => {
  const wrong = 'document.querySelector("input").onchange = ({ target }) => target.files[0];';
  assert.match(await compiled({ "wrong.ts": wrong }), /wrong\.ts.*error TS/);
});
