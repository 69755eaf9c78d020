// Takes the README's picture of the demo page, in a system that it starts:
// node scripts/take_picture.js [file.png] [width in pixels] [light or dark]
import { copyFile, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launchBrowser } from "../tests/browser/browser.js";
import { DemoPage } from "../tests/browser/demo-page.js";
import { ROOT, startSystem } from "../tests/browser/system.js";

const [picture = join(ROOT, "docs/images/demo.png"), width = 1200, scheme = "light"] =
  process.argv.slice(2);
const folder = await mkdtemp(join(tmpdir(), "picture-"));
const system = await startSystem();
const browser = await launchBrowser();

/** Create a file and return its path. `content` is the name of a sample, or a number of bytes. */
async function file(name, content) {
  const path = join(folder, name);
  if (typeof content === "string") await copyFile(join(ROOT, "sandbox/samples", content), path);
  else await writeFile(path, "").then(() => truncate(path, content));
  return path;
}

try {
  const page = new DemoPage(await browser.newPage(), "alice");
  await page.page.setViewport({ width: Number(width), height: 900 });
  await page.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.visit(system.demo);
  const slow = { kind: "slow", bytesPerSecond: 8_000_000 };
  await system.injectFault({ match: { method: "PUT" }, do: slow });
  await page.choose(await file("Whole day, uncut.mp4", 240_000_000));
  await page.page.waitForFunction(() => document.querySelector("progress")?.value > 0);
  // After a reload, the page lists the upload as unfinished.
  page.page.once("dialog", (dialog) => dialog.accept());
  await page.visit(system.demo);
  await page.rowIn("unfinished", "Whole day, uncut.mp4");
  const portrait = await file("Portrait.png", "sample.png");
  await page.choose(await file("Speaker take 1.mp4", "sample.mp4"), portrait);
  await page.page.waitForFunction(() => document.querySelectorAll(".card").length === 2);
  await page.press("Clear finished");
  const refused = await file("Transcript.txt", 5);
  await page.choose(await file("Closing words.wav", "sample.wav"), refused);
  await page.page.waitForFunction(() => document.querySelectorAll(".card").length === 3);
  await page.rowIn("failed", refused);
  await system.injectFault({ match: { method: "PUT" }, times: 2, do: slow });
  const clips = [
    await file("Interview, camera A.mp4", 90_000_000),
    await file("Interview, camera B.mp4", 60_000_000),
  ];
  await page.choose(...clips);
  await page.page.waitForFunction(
    () =>
      [...document.querySelectorAll('.row[data-state="uploading"] progress')].filter(
        ({ value }) => value > 20,
      ).length === 2,
  );
  await page.page.screenshot({ path: picture, fullPage: true });
} finally {
  await browser.close();
  await system.stop();
  await rm(folder, { recursive: true });
}
