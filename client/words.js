// What users read. A page shows `error.message`; codes and what servers said are in the error's other fields.

export const UNREACHABLE = "Can't reach the server. Check your connection and try again.";

/**
 * Returns what is said as long as the client tries again by itself: nobody is asked to do it.
 *
 * @param {string} message
 */
export const whileRetrying = (message) =>
  message
    .replace(" and try again", "; the upload resumes when it is back")
    .replace(/Try again[^.]*\.$/, "Trying again …");
