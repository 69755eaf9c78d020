import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import puppeteer from "puppeteer-core";

// Chromium without windows comes first: it draws the same pages with half the work.
const NAMES = [
  "chromium-headless-shell",
  "chromium",
  "chromium-browser",
  "google-chrome",
  "google-chrome-stable",
];
const MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";

function findChromium() {
  const candidates = process.env.PATH.split(delimiter).flatMap((folder) =>
    NAMES.map((name) => join(folder, name)),
  );
  const found = [process.env.CHROMIUM_PATH, ...candidates, MAC].find(
    (path) => path && existsSync(path),
  );
  if (found) return found;
  throw new Error("The browser tests need Chromium: run scripts/browser, or set CHROMIUM_PATH.");
}

/** Start Chromium with additional switches. */
export const launchBrowser = (...switches) =>
  puppeteer.launch({
    executablePath: findChromium(),
    args: [
      "--no-sandbox",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-quic",
      "--disable-gpu",
      "--no-first-run",
      "--autoplay-policy=user-gesture-required",
      // An imitated camera and microphone, which need no permission.
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      ...switches,
    ],
  });
