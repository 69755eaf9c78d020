// Uploads without the client, as in the documentation of the HTTP API.

/** Upload a file with `fetch` or `xhr`, and return the registered upload. */
export async function uploadByApi({ broker, token, file, by }) {
  const headers = { Authorization: `Bearer ${(await (await fetch(token)).json()).token}` };
  const post = async (path, body) => {
    const response = await fetch(broker + path, {
      method: "POST",
      headers: body ? { ...headers, "Content-Type": "application/json" } : headers,
      body: body && JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return { isRegistering: response.status === 202, body: await response.json() };
  };
  const { name: fileName, type: contentType, size } = file;
  const { body: begun } = await post("/uploads", { fileName, contentType, size });
  const status = await (by === "xhr" ? putByXhr(begun, file) : putByFetch(begun, file));
  if (status !== 200) throw new Error(`PUT: ${status}`);
  for (;;) {
    const { isRegistering, body } = await post(`/uploads/${begun.id}/complete`);
    if (!isRegistering) return { begun, upload: body };
  }
}

const putByFetch = async ({ uploadUrl, headers }, body) =>
  (await fetch(uploadUrl, { method: "PUT", headers, body })).status;

function putByXhr({ uploadUrl, headers }, body) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("PUT", uploadUrl);
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    xhr.onload = () => resolve(xhr.status);
    xhr.onerror = () => reject(new Error("The PUT failed."));
    xhr.send(body);
  });
}
