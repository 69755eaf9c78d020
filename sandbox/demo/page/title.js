/** What people call it: the label that they gave it, or else the name of the file, here or on the web. */
export const titleOf = ({ name, fileName, sourceUrl, asset }) =>
  name || fileName || asset.name || lastSegment(sourceUrl) || asset.id;

function lastSegment(url) {
  if (!url) return "";
  const segment = new URL(url).pathname.split("/").findLast(Boolean) ?? "";
  try {
    return decodeURIComponent(segment);
  } catch {
    // A percent sign may stand for itself.
    return segment;
  }
}
