import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createUploader } from "../../client/uploader.js";
import { after } from "../bounded.js";
import { putWithNode } from "./transport.js";

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
    /** What arrived at one route, oldest first. */
    at: (route) => requests.filter(({ method, path }) => `${method} ${path}` === route),
    /** Resolves when so many requests to this route have arrived. */
    async arrival(route, count = 1) {
      const giveUpAt = Date.now() + 20_000;
      while (this.at(route).length < count) {
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

/** The upload that the scripts below are about, as the broker tells it before its bytes are there. */
export const PENDING = {
  id: "upload-1",
  status: "pending",
  fileName: "take.mp4",
  size: 5,
  asset: null,
};
const REGISTERED = {
  id: "upload-1",
  status: "registered",
  asset: { id: "asset-1", type: "VIDEO" },
};

/** The target that the broker hands out; its first one unless told otherwise. */
export const target = (storage, signature = "abc") => ({
  ...PENDING,
  uploadUrl: `${storage}/bucket/object?X-Amz-Signature=${signature}`,
  method: "PUT",
  headers: { "Content-Type": "video/mp4", "x-amz-acl": "private" },
  expiresIn: 3600,
});

/** A refusal in the broker's shape. */
export const problem = (status, code, more = {}, headers = {}) => ({
  status,
  body: { detail: "The server's own words.", code, requestId: "request-9", ...more },
  headers,
});

/** The scripts of an upload that goes well; `overrides` replaces single routes. */
export const goodScripts = (storage, overrides = {}) => ({
  "GET /limits": [{ body: { maxUploadBytes: 1_000_000, contentTypes: ["video/*", "audio/wav"] } }],
  "POST /uploads": [{ status: 201, body: target(storage) }],
  "POST /uploads/upload-1/renew": [{ body: target(storage) }],
  "PUT /bucket/object?X-Amz-Signature=abc": [{ body: "" }],
  "POST /uploads/upload-1/complete": [{ body: REGISTERED }],
  "DELETE /uploads/upload-1": [{ status: 204, body: "" }],
  ...overrides,
});

/** What went wrong, where something had to. */
export const failureOf = (promise) =>
  promise.then(
    () => assert.fail("It should have failed."),
    (error) => error,
  );

/**
 * Sets the bench for one file of tests: `start(overrides, options)` gives a server and an uploader, and
 * every server is stopped after the last test. `overrides` may be a function of the server's address.
 */
export function setBench() {
  const running = [];
  after(() => Promise.all(running.map((server) => server.stop())));
  return async (overrides = {}, options = {}) => {
    const scripts = {};
    const server = await startServer(scripts);
    let isOver = false;
    running.push({
      stop() {
        isOver = true;
        return server.stop();
      },
    });
    const { getToken = "token-1", ...rest } = options;
    // What an upload leaves to be done in the background has to end with the tests.
    const untilTheEnd = (context) => {
      if (isOver) throw new Error("The tests are over.");
      return getToken.call ? getToken(context) : getToken;
    };
    const own = typeof overrides === "function" ? overrides(server.url) : overrides;
    Object.assign(scripts, goodScripts(server.url, own));
    const uploader = createUploader(
      { endpoint: server.url, getToken: untilTheEnd, ...rest },
      putWithNode,
    );
    return { server, uploader };
  };
}
