import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { after, before, test } from "../bounded.js";

const CLIENT = fileURLToPath(new URL("../../client", import.meta.url));
const MODULES = fileURLToPath(new URL("../../node_modules", import.meta.url));
const TYPESCRIPT = fileURLToPath(new URL("../../node_modules/.bin/tsc", import.meta.url));
const run = promisify(execFile);
let folder;
let installed;

/** Pack the client, and unpack it in the node_modules of an app. */
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "package-"));
  await run("npm", ["pack", "--pack-destination", folder, "--loglevel", "error"], { cwd: CLIENT });
  const [archive] = await readdir(folder);
  await run("tar", ["--extract", "--file", join(folder, archive), "--directory", folder]);
  await mkdir(join(folder, "app/node_modules"), { recursive: true });
  installed = join(folder, "package");
  await symlink(installed, join(folder, "app/node_modules/sync-upload-broker-client"));
});

after(() => rm(folder, { recursive: true, force: true }));

test("the package contains its modules, types, licence and README, and nothing else", async () => {
  const packed = await readdir(installed, { recursive: true });
  const strange = packed.filter(
    (name) =>
      !/^((uppy|react)(\/|$))?[a-z-]*(\.js|\.d\.ts)?$|^(package\.json|README\.md|LICENSE)$/.test(
        name,
      ),
  );
  assert.deepEqual(strange, []);
  const modules = (await readdir(CLIENT)).filter((name) => name.endsWith(".js"));
  for (const name of [...modules, "index.d.ts", "LICENSE", "README.md"])
    assert.ok(packed.includes(name), `${name} is missing`);
});

test("every document installs the package from an archive of this version", async () => {
  const { name, version } = JSON.parse(await readFile(join(CLIENT, "package.json"), "utf8"));
  const commands = [
    "mkdir -p vendor",
    "npm pack ../broker/client --pack-destination vendor",
    `npm install ./vendor/${name}-${version}.tgz`,
  ].join("\n");
  for (const document of ["../README.md", "README.md", "../docs/client.md"]) {
    const text = await readFile(join(CLIENT, document), "utf8");
    assert.ok(text.includes(`\n\`\`\`sh\n${commands}\n`), document);
  }
});

test("the package has no dependencies and no scripts", async () => {
  const manifest = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
  assert.deepEqual(
    [manifest.dependencies, manifest.scripts, manifest.sideEffects, manifest.type],
    [undefined, undefined, false, "module"],
  );
  assert.deepEqual(Object.keys(manifest.exports), [".", "./uppy", "./react", "./package.json"]);
});

test("every export exists, and each entry needs only its own peer", async () => {
  const manifest = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
  const packed = await readdir(installed, { recursive: true });
  for (const entry of Object.values(manifest.exports).flatMap((one) =>
    Object.values(one.types ? one : [one]),
  ))
    assert.ok(packed.includes(entry.slice(2)), `${entry} is missing`);
  const peers = Object.keys(manifest.peerDependencies);
  assert.deepEqual(peers, Object.keys(manifest.peerDependenciesMeta));
  for (const peer of peers) {
    assert.equal(manifest.peerDependenciesMeta[peer].optional, true);
    const target = join(folder, "node_modules", peer);
    await mkdir(join(target, ".."), { recursive: true });
    await symlink(join(MODULES, peer), target);
  }
  const code = `
    import { useUpload } from "sync-upload-broker-client/react";
    import { SyncUpload } from "sync-upload-broker-client/uppy";
    console.log(typeof useUpload, typeof SyncUpload);`;
  await writeFile(join(folder, "app/entries.mjs"), code);
  const { stdout } = await run("node", ["entries.mjs"], { cwd: join(folder, "app") });
  assert.equal(stdout, "function function\n");
});

test("React's entry begins with the directive of a client module", async () => {
  assert.match(await readFile(join(installed, "react/index.js"), "utf8"), /^"use client";\n/);
});

test("an app on Node can import the package and make calls that send no file", async () => {
  const code = `
    import { createUploader, UploadError } from "sync-upload-broker-client";
    const uploader = createUploader({ endpoint: "http://127.0.0.1:1", getToken: "x" });
    const error = await uploader.limits().catch((error) => error);
    console.log(error instanceof UploadError, error.code);`;
  await writeFile(join(folder, "app/main.mjs"), code);
  const { stdout } = await run("node", ["main.mjs"], { cwd: join(folder, "app") });
  assert.equal(stdout, "true broker_unreachable\n");
});

test("a module that is not exported can't be reached", async () => {
  await writeFile(join(folder, "app/inside.mjs"), 'import "sync-upload-broker-client/broker.js";');
  const error = await run("node", ["inside.mjs"], { cwd: join(folder, "app") }).catch((e) => e);
  assert.match(error.stderr, /ERR_PACKAGE_PATH_NOT_EXPORTED/);
});

for (const resolution of ["bundler", "nodenext"]) {
  test(`an app finds the types with the module resolution "${resolution}"`, async () => {
    const code = `
      import { createUploader, type Progress } from "sync-upload-broker-client";
      import { useUpload } from "sync-upload-broker-client/react";
      const phase: Progress["phase"] = "done";
      const uploader = createUploader({ endpoint: phase, getToken: "x" });
      uploader.pending().then(([one]) => one?.fileName);
      useUpload({ uploader }).data?.asset.id satisfies string | undefined;`;
    await writeFile(join(folder, "app/main.mts"), code);
    const module = resolution === "bundler" ? "esnext" : "nodenext";
    const options = ["--noEmit", "--strict", "--target", "es2022", "--types", ""];
    await run(
      TYPESCRIPT,
      [
        ...options,
        "--exactOptionalPropertyTypes",
        "--module",
        module,
        "--moduleResolution",
        resolution,
        "main.mts",
      ],
      { cwd: join(folder, "app") },
    ).catch(({ stdout }) => assert.fail(stdout));
  });
}
