import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { join } from "node:path";
import { ROOT } from "./system.js";

// In small letters, as Node gives the headers of what is forwarded: these take the place of those.
const READABLE = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "Retry-After",
};
const TYPES = { html: "text/html", js: "text/javascript" };

/**
 * Stands between a browser and the system, and makes trouble on the wire: the connections are real, and
 * so is what breaks. The broker's answers name this proxy as the storage; the storage gets its own name
 * in `Host`, so that the signatures hold.
 */
export class TroubledNetwork {
  /** What passed, oldest first: `{ method, path, status }`; the status is null where it was cut. */
  passed = [];
  #troubles = [];
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
      // A browser repeats by itself what broke on a connection that it had used before.
      server.keepAliveTimeout = 1;
      server.maxRequestsPerSocket = 1;
      server.on("connection", (socket) => {
        if (name === "page") return;
        this.#sockets.add(socket);
        socket.on("close", () => this.#sockets.delete(socket));
        socket.on("error", () => {});
      });
      // The sandbox knows the page's origin before anything is started.
      server.listen(name === "page" ? new URL(this.#page).port : 0, "127.0.0.1");
      await once(server, "listening");
      this.#servers[name] = { server, port: server.address().port };
    }
    return this;
  }

  url(name) {
    return `http://127.0.0.1:${this.#servers[name].port}`;
  }

  /** The harness's address for this user; `options` are those of the uploader. */
  page(user, options = {}) {
    const query = new URLSearchParams({
      broker: this.url("broker"),
      token: `${this.url("token")}/token?sub=${user}`,
      options: JSON.stringify(options),
    });
    return `${this.url("page")}/?${query}`;
  }

  /** Sends the broker's share somewhere else. */
  redirect(name, url) {
    this.#upstreams[name] = url;
  }

  /**
   * Orders trouble for requests to come: `match` is `METHOD path`, where the path may end in `*`. What
   * happens: `answer` (instead of the work), `cutAt` (of the body, 0 to 1), `loseAnswer` (after the work),
   * `bytesPerSecond`, `stallAt` (of the body: nothing moves from there on), `delay` (milliseconds before anything is passed).
   */
  order(match, what, times = 1) {
    const [method, path] = match.split(" ");
    const pattern = new RegExp(`^${path.replaceAll("*", ".*")}$`);
    this.#troubles.push({ method, pattern, what, left: times });
  }

  /** Breaks every connection, and lets none come about until `up` is called. */
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
    return this.passed.filter((one) => one.method === method && pattern.test(one.path)).length;
  }

  calm() {
    this.#troubles = [];
    this.passed.length = 0;
  }

  stop() {
    for (const { server } of Object.values(this.#servers)) {
      server.close();
      server.closeAllConnections();
    }
  }

  #troubleFor(method, path) {
    const found = this.#troubles.find(
      (one) => one.left > 0 && one.method === method && one.pattern.test(path),
    );
    if (found) found.left -= 1;
    return found?.what ?? {};
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
    if (method !== "OPTIONS") this.passed.push(entry);
    const trouble = method === "OPTIONS" ? {} : this.#troubleFor(method, path);
    incoming.on("error", () => {});
    if (trouble.delay) await new Promise((resolve) => setTimeout(resolve, trouble.delay));
    if (trouble.answer) return this.#answer(trouble.answer, entry, incoming, outgoing);
    const target = new URL(url, this.#upstreams[name]);
    // The sandbox takes no page without an origin, which any page can make of itself. That the client works in one
    // is tested all the same: here its page answers for it.
    const isOpaque = incoming.headers.origin === "null";
    const forwarded = request(target, {
      method,
      // Else Node would use a connection again that was to be closed, and break a request by that.
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
    forwarded.on("response", async (answer) => {
      try {
        const body = Buffer.concat(await answer.toArray());
        if (trouble.loseAnswer) return cut();
        entry.status = answer.statusCode;
        const { "content-length": _length, connection: _connection, ...headers } = answer.headers;
        outgoing.writeHead(
          answer.statusCode,
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
    await this.#pass(incoming, forwarded, trouble, cut);
  }

  /** Passes the body on, with the trouble that was ordered for it. */
  async #pass(incoming, forwarded, { cutAt, stallAt, bytesPerSecond }, cut) {
    const total = Number(incoming.headers["content-length"] ?? 0);
    const end = (cutAt ?? stallAt ?? 2) * total;
    let passed = 0;
    try {
      for await (const chunk of incoming) {
        passed += chunk.length;
        if (passed > end) {
          if (cutAt !== undefined) return cut();
          // Nobody reads on, so that the sender's window closes and nothing moves any more.
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

  async #answer({ status, headers, body = "" }, entry, incoming, outgoing) {
    // A refusal before the body was read would reach the browser as a broken connection.
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
      // A frame without an origin is strange to its own page's server.
      ...READABLE,
      "Content-Type": TYPES[path.split(".").at(-1)],
    });
    outgoing.end(body);
  }
}
