import { createCard } from "./asset-card.js";

const PAGE = 24; // cards
const list = document.querySelector("#cards");
const empty = document.querySelector("#no-assets");
const more = document.querySelector("#more");

/** Return the gallery of the user's assets, newest first. */
export function createGallery(uploader, report) {
  const shown = new Set();
  let nextCursor;

  function show(upload, position) {
    // An asset that was just added may also be on the next page of the list.
    if (shown.has(upload.id)) return;
    shown.add(upload.id);
    list[position](createCard(upload));
    empty.hidden = true;
  }

  async function load() {
    try {
      const page = await uploader.assets({ limit: PAGE, cursor: nextCursor });
      for (const upload of page.items) show(upload, "append");
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
    // The button may be hidden now, so the focus moves to the first new card.
    last.nextElementSibling?.querySelector("button").focus();
  });

  return { load, add: (upload) => show(upload, "prepend") };
}
