const drop = document.querySelector("#drop");
const input = document.querySelector("#files");

/** Call `onFiles` with files that are chosen, or dropped anywhere on the page. */
export function acceptFiles(onFiles) {
  input.addEventListener("change", () => {
    onFiles([...input.files]);
    // Without this, choosing the same file again would cause no event.
    input.value = "";
  });

  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.remove("over");
    onFiles([...event.dataTransfer.files]);
  });
}
