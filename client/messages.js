// These texts are for users: a page shows `error.message`. Codes and servers' texts are in the error's other fields.

export const UNREACHABLE = "Can't reach the server. Check your connection and try again.";
export const SERVER_TROUBLE = "The server has a problem. Try again later.";
export const SIGNED_OUT = "You are not signed in: getToken gave no token. Sign in and try again.";

/**
 * Return the message for the time in which the client tries again, so that it does not ask the user to do that.
 *
 * @param {string} message
 */
export const messageWhileRetrying = (message) =>
  message
    .replace(" and try again", "; the upload resumes when it is back")
    .replace(/Try again[^.]*\.$/, "Trying again …");
