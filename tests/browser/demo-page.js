import { basename } from "node:path";

const FINAL = ["done", "failed", "cancelled"];

/** The demo page, with methods for the actions of a user. */
export class DemoPage {
  /** Errors and warnings in the browser's console, and uncaught exceptions. */
  consoleErrors = [];

  constructor(page, user) {
    this.page = page;
    this.user = user;
    page.on("pageerror", (error) => this.consoleErrors.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warn") {
        this.consoleErrors.push(message.text());
      }
    });
  }

  /** Load the page, and wait until it shows the user's assets and limits. */
  async visit(demo) {
    await this.page.goto(`${demo}/?user=${this.user}`);
    await this.page.waitForFunction(
      () =>
        document.querySelector("#files").accept &&
        document.querySelector(".card, #no-assets:not([hidden])"),
    );
  }

  /** Choose files with the page's file control. */
  async choose(...paths) {
    const input = await this.page.waitForSelector("#files");
    await input.uploadFile(...paths);
  }

  /** Choose files, wait until each is in a final state, and return their rows in the same order. */
  async upload(...paths) {
    await this.choose(...paths);
    await this.page.waitForFunction(
      (count, final) => {
        const rows = [...document.querySelectorAll(".row")];
        return rows.length === count && rows.every(({ dataset }) => final.includes(dataset.state));
      },
      {},
      paths.length,
      FINAL,
    );
    return this.rows();
  }

  /** Return the content of each row, from top to bottom. */
  rows() {
    return this.page.$$eval(".row", (rows) =>
      rows.map((row) => {
        const text = (selector) => row.querySelector(selector)?.textContent ?? "";
        return {
          name: text(".name"),
          state: row.dataset.state,
          label: text(".state"),
          failure: [...row.querySelectorAll(".failure p")].map((p) => p.textContent).join("\n"),
          assetId: text(".asset code"),
          sentence: text(".left"),
          buttons: [...row.querySelectorAll(".buttons button:not([hidden])")].map(
            (button) => button.firstChild.textContent,
          ),
        };
      }),
    );
  }

  /** Return the content of each asset's card, from top to bottom. */
  cards() {
    return this.page.$$eval(".card", (cards) =>
      cards.map((card) => ({
        name: card.querySelector(".name").textContent,
        facts: card.querySelector(".meta").textContent,
        assetId: card.querySelector("code").textContent,
        kind: card.querySelector(".media").firstElementChild.localName,
      })),
    );
  }

  /** Wait until the row of this file has this state. */
  rowIn(state, path) {
    return this.page.waitForFunction(
      (wanted, name) =>
        [...document.querySelectorAll(`.row[data-state="${wanted}"]`)].some(
          (row) => row.querySelector(".name").textContent === name,
        ),
      {},
      state,
      basename(path),
    );
  }

  /** Wait until the first row shows this label and a matching sentence. */
  rowShows(label, sentence) {
    return this.page.waitForFunction(
      (wanted, pattern) => {
        const text = (selector) => document.querySelector(`.row ${selector}`)?.textContent ?? "";
        return text(".state") === wanted && new RegExp(pattern).test(text(".left"));
      },
      {},
      label,
      sentence.source,
    );
  }

  /** Press the first visible button whose text, with the part for screen readers, begins like this. */
  async press(words) {
    const button = await this.page.waitForFunction(
      (start) =>
        [...document.querySelectorAll("button")].find(
          (candidate) => candidate.checkVisibility() && candidate.textContent.startsWith(start),
        ),
      {},
      words,
    );
    await button.click();
  }

  /** Return the id, the text and the name of the focused element. */
  focused() {
    return this.page.evaluate(() => {
      const { id, textContent, localName } = document.activeElement;
      return { id, text: textContent, element: localName };
    });
  }

  /** Wait until a row's copy button shows "Copied". */
  copied() {
    return this.page.waitForFunction(() =>
      document.querySelector(".row .copy")?.textContent.startsWith("Copied"),
    );
  }

  clipboard() {
    return this.page.evaluate(() => navigator.clipboard.readText());
  }
}
