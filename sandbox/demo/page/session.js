import { createUploader } from "/client/index.js";

const MARGIN = 60; // seconds before a token expires, when a new one is fetched

/** Return the user, the page's settings and an uploader. The page's URL has the user, so two tabs can differ. */
export async function openSession() {
  const config = await (await fetch("/config.json")).json();
  const user = new URLSearchParams(location.search).get("user") ?? config.users[0];
  const uploader = createUploader({ endpoint: config.brokerUrl, getToken: tokensOf(user) });
  return { user, config, uploader };
}

function tokensOf(user) {
  let token;
  let freshUntil = 0;
  return async ({ signal, refresh }) => {
    if (Date.now() < freshUntil && !refresh) return token;
    const response = await fetch(`/token?sub=${encodeURIComponent(user)}`, { signal });
    const body = await response.json();
    if (!response.ok) throw new Error(body.detail);
    freshUntil = Date.now() + (body.expiresIn - MARGIN) * 1000;
    token = body.token;
    return token;
  };
}
