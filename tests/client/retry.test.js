import assert from "node:assert/strict";
import { NetworkError, RateLimitError, UploadError } from "../../client/index.js";
import { messageWhileRetrying } from "../../client/messages.js";
import { retry } from "../../client/retry.js";
import { describe, test } from "../bounded.js";
import { failureOf, problem, setUpUploader } from "./server.js";

const BEGIN = "POST /uploads";
const PUT = "PUT /bucket/object?X-Amz-Signature=abc";
const COMPLETE = "POST /uploads/upload-1/complete";
const RENEW = "POST /uploads/upload-1/renew";
const file = new File(["bytes"], "take.mp4", { type: "video/mp4" });
const passing = new UploadError("Later.", { code: "later", retryable: true });
const start = setUpUploader();
const done = { status: "registered", asset: { id: "asset-9" } };
const answerOf = (url) => ({
  id: "upload-1",
  uploadUrl: `${url}/bucket/object?X-Amz-Signature=abc`,
  method: "PUT",
  headers: {},
});

/** Upload, and return each reported pause, with the milliseconds that it lasted. */
async function waitsOf(uploader) {
  const waits = [];
  let last;
  await uploader.upload(file, {
    onProgress(progress) {
      const now = performance.now();
      if (last) last.lasted = now - last.at;
      last = progress.error && { ...progress, at: now };
      if (last) waits.push(last);
    },
  });
  return waits;
}

// These tests run at once, since each pauses most of the time.
describe("retries", { concurrency: true }, () => {
  for (const status of [408, 425, 429, 500, 502, 503, 504]) {
    test(`a ${status} of the broker is retried, whatever its body is`, async () => {
      const { server, uploader } = await start((url) => ({
        [BEGIN]: [
          { status, body: "<h1>No</h1>" },
          { status: 201, body: answerOf(url) },
        ],
      }));
      assert.equal((await uploader.upload(file)).asset.id, "asset-1");
      assert.equal(server.at(BEGIN).length, 2);
    });

    test(`a ${status} of the storage is retried with the same upload`, async () => {
      const { server, uploader } = await start({
        [PUT]: [{ status, body: "" }, { body: "" }],
        [COMPLETE]: [problem(409, "file_not_uploaded", { retryable: true }), { body: done }],
      });
      assert.equal((await uploader.upload(file)).asset.id, "asset-9");
      assert.deepEqual([server.at(BEGIN).length, server.at(PUT).length], [1, 2]);
    });
  }

  for (const [status, code] of [
    [400, "invalid_json"],
    [404, "not_found"],
    [413, "file_too_large"],
    [422, "invalid_input"],
  ]) {
    test(`a ${status} of the broker is final`, async () => {
      const { server, uploader } = await start({ [BEGIN]: [problem(status, code)] });
      assert.equal((await failureOf(uploader.upload(file))).code, code);
      assert.equal(server.at(BEGIN).length, 1);
    });
  }

  test("a 5xx with retryable false is final", async () => {
    const { server, uploader } = await start({
      [BEGIN]: [problem(503, "misconfigured", { retryable: false })],
    });
    assert.equal((await failureOf(uploader.upload(file))).code, "misconfigured");
    assert.equal(server.at(BEGIN).length, 1);
  });

  test("a 4xx with retryable true is retried", async () => {
    const { uploader } = await start((url) => ({
      [BEGIN]: [problem(409, "request_in_progress", { retryable: true }), { body: answerOf(url) }],
    }));
    assert.equal((await uploader.upload(file)).asset.id, "asset-1");
  });

  test("S3's 400 for a stall is retried, and any other 400 is final", async () => {
    const answer = (code) => ({ status: 400, body: `<Error><Code>${code}</Code></Error>` });
    const { server, uploader } = await start({
      [PUT]: [answer("RequestTimeout"), answer("EntityTooLarge")],
      [COMPLETE]: [problem(409, "file_not_uploaded", { retryable: true })],
    });
    const error = await failureOf(uploader.upload(file));
    assert.deepEqual([error.name, error.code], ["RefusedError", "storage_refused"]);
    assert.equal(server.at(PUT).length, 2);
  });

  test("a lost connection is retried at every step, and makes one upload", async () => {
    const { server, uploader } = await start((url) => ({
      [BEGIN]: [{ cut: true }, { status: 201, body: answerOf(url) }],
      [PUT]: [{ cut: true }, { body: "" }],
      [COMPLETE]: [
        problem(409, "file_not_uploaded", { retryable: true }),
        { cut: true },
        { body: done },
      ],
    }));
    assert.equal((await uploader.upload(file)).asset.id, "asset-9");
    assert.deepEqual([server.at(PUT).length, server.at(RENEW).length], [2, 1]);
  });

  test("bytes that are stored although the response was lost are not sent again", async () => {
    const { server, uploader } = await start({ [PUT]: [{ cut: true }] });
    assert.equal((await uploader.upload(file)).asset.id, "asset-1");
    assert.deepEqual([server.at(PUT).length, server.at(RENEW).length], [1, 0]);
  });

  test("bytes that are stored although the response was lost are reported as sent", async () => {
    const { server, uploader } = await start({
      [PUT]: [{ cut: true }],
      [COMPLETE]: [
        { status: 202, body: {}, headers: { "Retry-After": "9" } },
        { status: 202, body: {}, headers: { "Retry-After": "1" } },
        { body: done },
      ],
    });
    const reported = [];
    const onProgress = ({ phase, loaded, error }) => reported.push([phase, loaded, error?.code]);
    await uploader.upload(file, { onProgress });
    const sent = reported.findIndex(([, , code]) => code === "storage_unreachable") + 1;
    assert.deepEqual(reported.slice(sent), [
      ["finishing", 5, undefined],
      ["finishing", 5, "still_registering"],
      ["done", 5, undefined],
    ]);
    assert.deepEqual([server.at(PUT).length, server.at(COMPLETE).length], [1, 3]);
  });

  test("Retry-After in seconds is waited for, and reported to the page", async () => {
    const { uploader } = await start((url) => ({
      [BEGIN]: [problem(503, "upstream_busy", {}, { "Retry-After": "2" }), { body: answerOf(url) }],
    }));
    const waits = await waitsOf(uploader);
    assert.deepEqual(
      waits.map(({ wait, phase, loaded }) => [wait, phase, loaded]),
      [[2, "waiting", 0]],
    );
    assert.deepEqual([waits[0].error.code, waits[0].error.retryAfter], ["upstream_busy", 2]);
    assert.ok(waits[0].lasted >= 1990, `it lasted ${waits[0].lasted} ms`);
  });

  test("Retry-After as a date is waited for", async () => {
    const at = new Date(Date.now() + 8000).toUTCString();
    const { uploader } = await start((url) => ({
      [BEGIN]: [problem(429, "too_many", {}, { "Retry-After": at }), { body: answerOf(url) }],
    }));
    const [{ wait, lasted }] = await waitsOf(uploader);
    assert.ok(wait > 1 && wait <= 8, `${wait} s`);
    assert.ok(lasted >= wait * 1000 - 10);
  });

  for (const header of ["0", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"]) {
    test(`Retry-After "${header}" leaves the client its own pause`, async () => {
      const { uploader } = await start((url) => ({
        [BEGIN]: [problem(503, "busy", {}, { "Retry-After": header }), { body: answerOf(url) }],
      }));
      const [{ wait, error }] = await waitsOf(uploader);
      assert.equal(error.retryAfter, 0);
      assert.ok(wait >= 0 && wait <= 1);
    });
  }

  test("a Retry-After longer than the patience is not waited for", async () => {
    const { uploader } = await start(
      { [COMPLETE]: [problem(503, "upstream_busy", {}, { "Retry-After": "3600" })] },
      { patience: 1 },
    );
    const error = await failureOf(uploader.upload(file));
    assert.deepEqual([error.code, error.retryAfter], ["upstream_busy", 3600]);
  });

  test("a step that keeps failing is given up when its pauses exceed the patience", async () => {
    const { server, uploader } = await start(
      {
        [PUT]: [{ status: 503, body: "" }],
        [COMPLETE]: [problem(409, "file_not_uploaded", { retryable: true })],
      },
      { patience: 2 },
    );
    assert.equal((await failureOf(uploader.upload(file))).code, "storage_refused");
    assert.ok(server.at(PUT).length > 1);
  });

  test("the rate limiter's ticket is sent back, and the page gets the position in the queue", async () => {
    const queued = (ticket, position) =>
      problem(429, "rate_limited", { retryable: true, ticket, position }, { "Retry-After": "1" });
    const { server, uploader } = await start((url) => ({
      [BEGIN]: [queued("t-1", 2), queued("t-2", 1), { body: answerOf(url) }],
    }));
    const waits = await waitsOf(uploader);
    assert.deepEqual(
      server.at(BEGIN).map(({ headers }) => headers["upload-ticket"]),
      [undefined, "t-1", "t-2"],
    );
    assert.ok(waits.every(({ error }) => error instanceof RateLimitError));
    assert.deepEqual(
      waits.map(({ wait, error, phase }) => [wait, error.position, phase]),
      [
        [1, 2, "waiting"],
        [1, 1, "waiting"],
      ],
    );
  });

  test("a ticket outlives a lost connection", async () => {
    const { server, uploader } = await start((url) => ({
      [BEGIN]: [
        problem(429, "rate_limited", { ticket: "t-1" }, { "Retry-After": "0" }),
        { cut: true },
        { body: answerOf(url) },
      ],
    }));
    await uploader.upload(file);
    assert.equal(server.at(BEGIN)[2].headers["upload-ticket"], "t-1");
  });

  test("a renewal sends the rate limiter's ticket back", async () => {
    const { server, uploader } = await start((url) => ({
      [PUT]: [{ status: 403, body: "" }],
      [COMPLETE]: [problem(409, "file_not_uploaded", { retryable: true }), { body: done }],
      [RENEW]: [
        problem(429, "rate_limited", { ticket: "t-7" }, { "Retry-After": "0" }),
        { body: { ...answerOf(url), uploadUrl: `${url}/fresh` } },
      ],
      "PUT /fresh": [{ body: "" }],
      [COMPLETE]: [
        problem(409, "file_not_uploaded", { retryable: true }),
        problem(409, "file_not_uploaded", { retryable: true }),
        { body: done },
      ],
    }));
    await uploader.upload(file);
    assert.equal(server.at(RENEW)[1].headers["upload-ticket"], "t-7");
    assert.equal(server.at("PUT /fresh").length, 1);
  });

  test("a pause with a ticket does not use up the patience, a full queue does", async () => {
    const withTicket = problem(429, "rate_limited", { ticket: "t" }, { "Retry-After": "1" });
    const full = problem(503, "queue_full", { retryable: true }, { "Retry-After": "60" });
    const { uploader } = await start(
      { [BEGIN]: [withTicket, withTicket, full] },
      { patience: 0.5 },
    );
    const error = await failureOf(uploader.upload(file));
    assert.ok(error instanceof RateLimitError);
    assert.deepEqual([error.code, error.status, error.retryAfter], ["queue_full", 503, 60]);
  });

  test("a registration that the rate limiter refuses without a ticket waits for Retry-After", async () => {
    const refusal = problem(429, "rate_limited", { retryable: true }, { "Retry-After": "1" });
    const { server, uploader } = await start({ [COMPLETE]: [refusal, { body: done }] });
    const waits = await waitsOf(uploader);
    assert.deepEqual(
      waits.map(({ phase, wait, error }) => [phase, wait, error.name]),
      [["finishing", 1, "RateLimitError"]],
    );
    assert.ok(waits[0].lasted >= 990, `it lasted ${waits[0].lasted} ms`);
    assert.ok(server.requests.every(({ headers }) => !("upload-ticket" in headers)));
  });

  test("a rate limit without a ticket uses up the patience", async () => {
    const refusal = problem(429, "rate_limited", { retryable: true }, { "Retry-After": "60" });
    const { server, uploader } = await start({ [BEGIN]: [refusal] }, { patience: 0.5 });
    const error = await failureOf(uploader.upload(file));
    assert.deepEqual([error.code, error.retryAfter], ["rate_limited", 60]);
    assert.equal(server.at(BEGIN).length, 1);
  });

  test("a pause before the next complete has the phase finishing", async () => {
    const { uploader } = await start({
      [COMPLETE]: [{ status: 202, body: {}, headers: { "Retry-After": "1" } }, { body: done }],
    });
    const waits = await waitsOf(uploader);
    assert.deepEqual(
      waits.map(({ phase, loaded, percentage, wait }) => [phase, loaded, percentage, wait]),
      [["finishing", 5, 99, 1]],
    );
  });

  test("pauses have full jitter and grow to half a minute", async () => {
    const longest = [];
    for (let round = 0; round < 300; round += 1) {
      const seen = [];
      const end = new AbortController();
      const onPause = ({ wait }) => {
        seen.push(wait);
        end.abort();
      };
      const options = { patience: 1e9, signal: end.signal, onPause };
      await failureOf(retry(() => Promise.reject(passing), options));
      longest.push(...seen);
    }
    assert.equal(longest.length, 300);
    assert.ok(longest.every((wait) => wait >= 0 && wait < 1));
    const mean = longest.reduce((sum, wait) => sum + wait, 0) / longest.length;
    assert.ok(mean > 0.4 && mean < 0.6, `the mean is ${mean}`);
  });

  test("an error that is no UploadError is not retried", async () => {
    let tries = 0;
    const work = () => {
      tries += 1;
      throw new TypeError("x is not a function");
    };
    assert.ok((await failureOf(retry(work, { patience: 300 }))) instanceof TypeError);
    assert.equal(tries, 1);
  });

  test("work gets the number of its failures", async () => {
    const seen = [];
    await retry(
      async (_ticket, failures) => {
        seen.push(failures);
        if (failures < 2) throw passing;
      },
      { patience: 300 },
    );
    assert.deepEqual(seen, [0, 1, 2]);
  });

  test("a captive portal's page is retried, since the broker never got the request", async () => {
    const { uploader } = await start({
      [COMPLETE]: [{ body: "<h1>Sign in to the Wi-Fi</h1>" }, { body: done }],
    });
    const waits = await waitsOf(uploader);
    assert.ok(waits[0].error instanceof NetworkError);
    assert.equal(waits[0].error.code, "unexpected_response");
  });
});

for (const [final, meanwhile] of [
  ["Sync failed. Try again in a moment.", "Sync failed. Trying again …"],
  [
    '"take.mp4" could not be stored. Try again later.',
    '"take.mp4" could not be stored. Trying again …',
  ],
  [
    "Can't reach the server. Check your connection and try again.",
    "Can't reach the server. Check your connection; the upload resumes when it is back.",
  ],
  ["Please sign in", "Please sign in"],
]) {
  test(`"${final}" has another message while the client retries`, () => {
    assert.equal(messageWhileRetrying(final), meanwhile);
  });
}
