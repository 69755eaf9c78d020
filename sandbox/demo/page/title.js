/** Return an upload's title: its name, or else the name of its file or of its public URL. */
export const titleOf = ({ name, fileName, sourceUrl, asset }) =>
  name || fileName || asset.name || lastSegment(sourceUrl) || asset.id;

function lastSegment(url) {
  if (!url) return "";
  const segment = new URL(url).pathname.split("/").findLast(Boolean) ?? "";
  try {
    return decodeURIComponent(segment);
  } catch {
    // A percent sign may be literal.
    return segment;
  }
}
