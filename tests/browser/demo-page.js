import { basename } from "node:path";

const FINAL = ["done", "failed", "cancelled"];

/** The demo page, in the words of whoever uses it. */
export class DemoPage {
  /** What the browser's console complained about, and what no script caught. */
  complaints = [];

  constructor(page, user) {
    this.page = page;
    this.user = user;
    page.on("pageerror", (error) => this.complaints.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warn") {
        this.complaints.push(message.text());
      }
    });
  }

  /** Loads the page and waits until it knows the user's assets and limits. */
  async visit(demo) {
    await this.page.goto(`${demo}/?user=${this.user}`);
    await this.page.waitForFunction(
      () =>
        document.querySelector("#files").accept &&
        document.querySelector(".card, #no-assets:not([hidden])"),
    );
  }

  /** Chooses files by the page's file control. */
  async choose(...paths) {
    const input = await this.page.waitForSelector("#files");
    await input.uploadFile(...paths);
  }

  /** Chooses files and waits until each has its end; gives their rows in the same order. */
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

  /** What each row says, from top to bottom. */
  rows() {
    return this.page.$$eval(".row", (rows) =>
      rows.map((row) => {
        const text = (selector) => row.querySelector(selector)?.textContent ?? "";
        return {
          name: text(".name"),
          state: row.dataset.state,
          says: text(".state"),
          failure: [...row.querySelectorAll(".failure p")].map((p) => p.textContent).join("\n"),
          assetId: text(".asset code"),
          told: text(".left"),
          buttons: [...row.querySelectorAll(".buttons button:not([hidden])")].map(
            (button) => button.firstChild.textContent,
          ),
        };
      }),
    );
  }

  /** What each card of the assets says, from top to bottom. */
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

  /** Waits until the row of this file says that it is in this state. */
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

  /** Waits until the first row says this, as its state and in its sentence. */
  rowSays(state, sentence) {
    return this.page.waitForFunction(
      (wanted, pattern) => {
        const text = (selector) => document.querySelector(`.row ${selector}`)?.textContent ?? "";
        return text(".state") === wanted && new RegExp(pattern).test(text(".left"));
      },
      {},
      state,
      sentence.source,
    );
  }

  /** Presses the first button in sight whose words, the spoken ones included, begin like this. */
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

  /** What has the keyboard's focus. */
  focused() {
    return this.page.evaluate(() => {
      const { id, textContent, localName } = document.activeElement;
      return { id, text: textContent, element: localName };
    });
  }

  /** Waits until a row's copy button says that it did its work. */
  copied() {
    return this.page.waitForFunction(() =>
      document.querySelector(".row .copy")?.textContent.startsWith("Copied"),
    );
  }

  clipboard() {
    return this.page.evaluate(() => navigator.clipboard.readText());
  }
}
