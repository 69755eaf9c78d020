// What users read. A page shows `error.message`; codes and what servers said are in the error's other fields.

export const UNREACHABLE = "Can't reach the server. Check your connection and try again.";
export const LINK_EXPIRED = "The upload link expired. Try again.";

/**
 * What is said in place of these as long as the client tries again by itself.
 *
 * @type {Record<string, string>}
 */
export const WHILE_RETRYING = {
  [UNREACHABLE]:
    "Can't reach the server. Check your connection; the upload resumes when it is back.",
  [LINK_EXPIRED]: "The upload link expired. Trying again …",
};
