import { createCard } from "./asset-card.js";

const PAGE = 24; // cards
const list = document.querySelector("#cards");
const empty = document.querySelector("#no-assets");
const more = document.querySelector("#more");

/** The list of this user's assets, newest first. */
export function createGallery(uploader, report) {
  const shown = new Set();
  let nextCursor;

  function put(upload, place) {
    // What was just added may come once more with the next page.
    if (shown.has(upload.id)) return;
    shown.add(upload.id);
    list[place](createCard(upload));
    empty.hidden = true;
  }

  async function load() {
    try {
      const page = await uploader.assets({ limit: PAGE, cursor: nextCursor });
      for (const upload of page.items) put(upload, "append");
      nextCursor = page.nextCursor;
      empty.hidden = shown.size > 0;
      more.hidden = !nextCursor;
    } catch (error) {
      report(error);
    }
  }

  more.addEventListener("click", async () => {
    const last = list.lastElementChild;
    await load();
    // The button may be gone, and the new cards come before it.
    last.nextElementSibling?.querySelector("button").focus();
  });

  return { load, add: (upload) => put(upload, "prepend") };
}
