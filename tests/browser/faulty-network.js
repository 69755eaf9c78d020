import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { join } from "node:path";
import { ROOT } from "./system.js";

// The names are in lower case as in Node, so that these headers replace the forwarded ones.
const READABLE = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "Retry-After",
};
const TYPES = { html: "text/html", js: "text/javascript" };

/**
 * A proxy between a browser and the system that injects faults into real connections. It replaces the storage's URL
 * in the broker's responses with its own. The storage still gets its own name in `Host`, so that signatures are valid.
 */
export class FaultyNetwork {
  /** The requests, oldest first: `{ method, path, status }`. The status is null if the connection was cut. */
  requests = [];
  #faults = [];
  #sockets = new Set();
  #servers = {};
  #upstreams;
  #page;

  constructor(system) {
    this.#page = system.page;
    this.#upstreams = { broker: system.broker, storage: system.upstream, token: system.demo };
  }

  async start() {
    for (const name of ["broker", "storage", "token", "page"]) {
      const server = createServer((incoming, outgoing) =>
        name === "page" ? this.#serve(incoming, outgoing) : this.#forward(name, incoming, outgoing),
      );
      // A browser repeats a request on its own if a reused connection breaks.
      server.keepAliveTimeout = 1;
      server.maxRequestsPerSocket = 1;
      server.on("connection", (socket) => {
        if (name === "page") return;
        this.#sockets.add(socket);
        socket.on("close", () => this.#sockets.delete(socket));
        socket.on("error", () => {});
      });
      // The page's port is fixed, because the sandbox's settings have its origin.
      server.listen(name === "page" ? new URL(this.#page).port : 0, "127.0.0.1");
      await once(server, "listening");
      this.#servers[name] = { server, port: server.address().port };
    }
    return this;
  }

  url(name) {
    return `http://127.0.0.1:${this.#servers[name].port}`;
  }

  /** Return the URL of the harness for this user, with options of the uploader. */
  page(user, options = {}) {
    const query = new URLSearchParams({
      broker: this.url("broker"),
      token: `${this.url("token")}/token?sub=${user}`,
      options: JSON.stringify(options),
    });
    return `${this.url("page")}/?${query}`;
  }

  /** Forward the requests for one part of the system to another URL. */
  redirect(name, url) {
    this.#upstreams[name] = url;
  }

  /**
   * Inject a fault into the next requests. `match` is `METHOD path`, where the path may have `*`. The fault is one of
   * `response` (instead of forwarding), `cutAt` (a share of the body, 0 to 1), `dropResponse` (after forwarding),
   * `bytesPerSecond`, `stallAt` (a share of the body) and `delay` (milliseconds before forwarding).
   */
  injectFault(match, fault, times = 1) {
    const [method, path] = match.split(" ");
    const pattern = new RegExp(`^${path.replaceAll("*", ".*")}$`);
    this.#faults.push({ method, pattern, fault, left: times });
  }

  /** Break every connection, and refuse new ones until `up` is called. */
  async down() {
    for (const name of ["broker", "storage", "token"]) {
      const { server } = this.#servers[name];
      server.close();
    }
    for (const socket of this.#sockets) socket.destroy();
  }

  async up() {
    for (const name of ["broker", "storage", "token"]) {
      const { server, port } = this.#servers[name];
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    }
  }

  count(match) {
    const [method, path] = match.split(" ");
    const pattern = new RegExp(`^${path.replaceAll("*", ".*")}$`);
    return this.requests.filter((one) => one.method === method && pattern.test(one.path)).length;
  }

  reset() {
    this.#faults = [];
    this.requests.length = 0;
  }

  stop() {
    for (const { server } of Object.values(this.#servers)) {
      server.close();
      server.closeAllConnections();
    }
  }

  #faultFor(method, path) {
    const found = this.#faults.find(
      (one) => one.left > 0 && one.method === method && one.pattern.test(path),
    );
    if (found) found.left -= 1;
    return found?.fault ?? {};
  }

  async #forward(name, incoming, outgoing) {
    const { method, url } = incoming;
    const path = url.split("?")[0];
    const entry = {
      method,
      path,
      status: null,
      type: incoming.headers["content-type"],
      ticket: incoming.headers["upload-ticket"],
    };
    if (method !== "OPTIONS") this.requests.push(entry);
    const fault = method === "OPTIONS" ? {} : this.#faultFor(method, path);
    incoming.on("error", () => {});
    if (fault.delay) await new Promise((resolve) => setTimeout(resolve, fault.delay));
    if (fault.response) return this.#respond(fault.response, entry, incoming, outgoing);
    const target = new URL(url, this.#upstreams[name]);
    // The sandbox refuses pages without an origin, since any page can drop its origin. To test the client in such a
    // page nevertheless, the proxy adds the origin of the harness.
    const isOpaque = incoming.headers.origin === "null";
    const forwarded = request(target, {
      method,
      // With an agent, Node could reuse a connection that is about to close, which would break the request.
      agent: false,
      headers: {
        ...incoming.headers,
        ...(isOpaque && { origin: this.#page }),
        host: target.host,
        connection: "close",
      },
    });
    const { socket } = incoming;
    const cut = () => {
      forwarded.destroy();
      socket.destroy();
    };
    forwarded.on("error", cut);
    incoming.on("close", () => incoming.complete || forwarded.destroy());
    forwarded.on("response", async (received) => {
      try {
        const body = Buffer.concat(await received.toArray());
        if (fault.dropResponse) return cut();
        entry.status = received.statusCode;
        const { "content-length": _length, connection: _connection, ...headers } = received.headers;
        outgoing.writeHead(
          received.statusCode,
          name === "token" || isOpaque ? { ...headers, ...READABLE } : headers,
        );
        outgoing.end(
          name === "broker"
            ? body
                .toString()
                .replaceAll(
                  `${this.#upstreams.storage}/storage/`,
                  `${this.url("storage")}/storage/`,
                )
            : body,
        );
      } catch {
        cut();
      }
    });
    await this.#pass(incoming, forwarded, fault, cut);
  }

  /** Forward the body, with the fault for it. */
  async #pass(incoming, forwarded, { cutAt, stallAt, bytesPerSecond }, cut) {
    const total = Number(incoming.headers["content-length"] ?? 0);
    const end = (cutAt ?? stallAt ?? 2) * total;
    let passed = 0;
    try {
      for await (const chunk of incoming) {
        passed += chunk.length;
        if (passed > end) {
          if (cutAt !== undefined) return cut();
          // The rest is not read, so the sender's window closes and the connection stalls.
          return await new Promise((resolve) => incoming.once("close", resolve));
        }
        if (!forwarded.write(chunk)) await once(forwarded, "drain");
        if (bytesPerSecond)
          await new Promise((resolve) =>
            setTimeout(resolve, (chunk.length / bytesPerSecond) * 1000),
          );
      }
      forwarded.end();
    } catch {
      forwarded.destroy();
    }
  }

  async #respond({ status, headers, body = "" }, entry, incoming, outgoing) {
    // If the body were not read first, the browser would see a broken connection instead of the response.
    for await (const _chunk of incoming);
    entry.status = status;
    outgoing.writeHead(status, { ...READABLE, ...headers });
    outgoing.end(typeof body === "string" ? body : JSON.stringify(body));
  }

  async #serve(incoming, outgoing) {
    const { pathname } = new URL(incoming.url, "http://page");
    const path = pathname.startsWith("/client/")
      ? join(ROOT, pathname)
      : join(ROOT, "tests/browser/harness", pathname === "/" ? "index.html" : pathname);
    const body = await readFile(path).catch(() => null);
    outgoing.writeHead(body ? 200 : 404, {
      // For a frame without an origin, even its own server is cross-origin.
      ...READABLE,
      "Content-Type": TYPES[path.split(".").at(-1)],
    });
    outgoing.end(body);
  }
}
