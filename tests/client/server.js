import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createUploader } from "../../client/uploader.js";
import { after } from "../bounded.js";
import { putWithNode } from "./transport.js";

/**
 * Start an HTTP server that is broker and storage. A script is a route's list of responses: each request gets the next
 * one, and the last one is repeated. A response is `{ status, body, headers, before, cut }`, all optional.
 */
export async function startServer(scripts) {
  const requests = [];
  const counts = new Map();
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
    const count = counts.get(route) ?? 0;
    counts.set(route, count + 1);
    const reply = script[Math.min(count, script.length - 1)];
    await reply.before?.();
    if (reply.cut) return request.socket.destroy();
    response.writeHead(reply.status ?? 200, reply.headers);
    response.end(typeof reply.body === "string" ? reply.body : JSON.stringify(reply.body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    requests,
    routes: () => requests.map(({ method, path }) => `${method} ${path}`),
    /** Return the requests to one route, oldest first. */
    at: (route) => requests.filter(({ method, path }) => `${method} ${path}` === route),
    /** Wait until so many requests to this route have arrived. */
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

/** The upload of the scripts below, before its bytes are stored. */
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

/** Return an upload with the target that the broker presigns. */
export const target = (storage, signature = "abc") => ({
  ...PENDING,
  uploadUrl: `${storage}/bucket/object?X-Amz-Signature=${signature}`,
  method: "PUT",
  headers: { "Content-Type": "video/mp4", "x-amz-acl": "private" },
  expiresIn: 3600,
});

/** Return a response with a problem document of the broker. */
export const problem = (status, code, more = {}, headers = {}) => ({
  status,
  body: { detail: "The server's own words.", code, requestId: "request-9", ...more },
  headers,
});

/** Return the scripts of an upload that succeeds. `overrides` replaces routes. */
export const goodScripts = (storage, overrides = {}) => ({
  "GET /limits": [{ body: { maxUploadBytes: 1_000_000, contentTypes: ["video/*", "audio/wav"] } }],
  "POST /uploads": [{ status: 201, body: target(storage) }],
  "POST /uploads/upload-1/renew": [{ body: target(storage) }],
  "PUT /bucket/object?X-Amz-Signature=abc": [{ body: "" }],
  "POST /uploads/upload-1/complete": [{ body: REGISTERED }],
  "DELETE /uploads/upload-1": [{ status: 204, body: "" }],
  ...overrides,
});

/** Return the error of a promise that has to reject. */
export const failureOf = (promise) =>
  promise.then(
    () => assert.fail("It should have failed."),
    (error) => error,
  );

/**
 * Return a function that starts a server with an uploader: `start(overrides, options)`. `overrides` may be a function of
 * the server's URL. Every server is stopped after the last test of the file.
 */
export function setUpUploader() {
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
    // The background work of an upload has to end with the tests.
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
