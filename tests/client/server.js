import { once } from "node:events";
import { createServer } from "node:http";

/**
 * A real HTTP server that plays broker and storage: each route answers from its own script, in turn, and
 * the last answer stays. A script is a list of `{ status, body, headers, before }`, all optional.
 */
export async function startServer(scripts) {
  const requests = [];
  const turns = new Map();
  const server = createServer(async (request, response) => {
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      requests.push({ method: request.method, path: request.url, cut: true });
      return;
    }
    const body = Buffer.concat(chunks);
    requests.push({ method: request.method, path: request.url, headers: request.headers, body });
    const route = `${request.method} ${request.url}`;
    const script = scripts[route] ?? [{ status: 404, body: { detail: `No script for ${route}.` } }];
    const turn = turns.get(route) ?? 0;
    turns.set(route, turn + 1);
    const answer = script[Math.min(turn, script.length - 1)];
    await answer.before?.();
    if (answer.cut) return request.socket.destroy();
    response.writeHead(answer.status ?? 200, answer.headers);
    response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    requests,
    routes: () => requests.map(({ method, path }) => `${method} ${path}`),
    /** Resolves when a request to this route has arrived. */
    async arrival(route) {
      const giveUpAt = Date.now() + 5000;
      while (!this.routes().includes(route)) {
        if (Date.now() > giveUpAt) throw new Error(`No ${route} arrived: ${this.routes()}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The scripts of an upload that goes well; `overrides` replaces single routes. */
export function goodScripts(storage, overrides = {}) {
  const pending = {
    id: "upload-1",
    status: "pending",
    asset: null,
    uploadUrl: `${storage}/bucket/object?X-Amz-Signature=abc`,
    method: "PUT",
    headers: { "Content-Type": "video/mp4", "x-amz-acl": "private" },
  };
  const registered = {
    id: "upload-1",
    status: "registered",
    asset: { id: "asset-1", type: "VIDEO" },
  };
  return {
    "POST /uploads": [{ status: 201, body: pending }],
    "PUT /bucket/object?X-Amz-Signature=abc": [{ body: "" }],
    "POST /uploads/upload-1/complete": [{ body: registered }],
    "DELETE /uploads/upload-1": [{ status: 204, body: "" }],
    ...overrides,
  };
}
