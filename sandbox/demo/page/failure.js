/** Return the elements for an error: its message and, behind "Details", the facts that support needs. */
export function describeFailure(error) {
  const message = document.createElement("p");
  message.textContent = error.message;
  const details = createDetails(error);
  return details ? [message, details] : [message];
}

/** Return the details for developers: the code, the request's id and the invalid fields. */
function createDetails({ code, requestId, errors = [] }) {
  const lines = [
    [code, requestId && `request ${requestId}`].filter(Boolean).join(" · "),
    ...errors.map(({ pointer, detail }) => [pointer, detail].filter(Boolean).join(": ")),
  ].filter(Boolean);
  if (!lines.length) return null;
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "Details";
  details.append(summary, ...lines.map(createReference));
  return details;
}

function createReference(text) {
  const reference = document.createElement("p");
  reference.className = "reference";
  reference.textContent = text;
  return reference;
}
