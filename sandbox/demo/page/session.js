import { createUploader } from "/client/index.js";

const SPARE = 60; // seconds before a token's end in which a new one is fetched

/** Who is signed in stands in the page's address, so that two tabs may be two users. */
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
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    freshUntil = Date.now() + (answer.expiresIn - SPARE) * 1000;
    token = answer.token;
    return token;
  };
}
