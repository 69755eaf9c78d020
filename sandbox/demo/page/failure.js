/** The server's own words, and beneath them what to quote when asking for help. */
export function describeFailure(error) {
  const message = document.createElement("p");
  message.textContent = error.message;
  const reference = document.createElement("p");
  reference.className = "reference";
  reference.textContent = [error.code, error.requestId && `request ${error.requestId}`]
    .filter(Boolean)
    .join(" · ");
  return [message, reference];
}
