// Measures in each engine what the client costs: `node benchmarks/browser_put.js [Chromium,Firefox,WebKit]`.
//
// Prints the PUT's speed beside that of a bare XMLHttpRequest, file by file in turn so that the machine's
// moods hit both, and how much memory the browser's processes take for a file of 1 GiB (Linux alone).
import { execFileSync } from "node:child_process";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ENGINES } from "../tests/browser/engines.js";
import { startSystem } from "../tests/browser/system.js";
import { TroubledNetwork } from "../tests/browser/troubled-network.js";

const ROUNDS = 25;
const SPEED_BYTES = 100_000_000;
const MEMORY_BYTES = 2 ** 30;
const MEGABYTE = 1e6;

/** Uploads the chosen file by the client, and gives the PUT's seconds. */
async function byClient() {
  const { createUploader } = await import("/client/index.js");
  const query = new URLSearchParams(location.search);
  const { token } = await (await fetch(query.get("token"))).json();
  const uploader = createUploader({ endpoint: query.get("broker"), getToken: token });
  const at = {};
  const onProgress = ({ phase }) => {
    at[phase] ??= performance.now();
  };
  await uploader.upload(document.querySelector("#files").files[0], { onProgress });
  return (at.finishing - at.uploading) / 1000;
}

/** Uploads the chosen file by nothing but an XMLHttpRequest, and gives its seconds. */
async function byHand() {
  const query = new URLSearchParams(location.search);
  const { token } = await (await fetch(query.get("token"))).json();
  const [file] = document.querySelector("#files").files;
  const answer = await fetch(`${query.get("broker")}/uploads`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ fileName: file.name, contentType: "video/mp4", size: file.size }),
  });
  const { id, uploadUrl, headers } = await answer.json();
  const seconds = await new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", uploadUrl);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    const start = performance.now();
    // WebKit sends more slowly to whoever wants to know the progress, which every uploader does.
    request.upload.onprogress = () => {};
    request.onload = () => resolve((performance.now() - start) / 1000);
    request.onerror = () => reject(new Error("The PUT failed."));
    request.send(file);
  });
  // Else the sweep would register it in the middle of another round.
  await fetch(`${query.get("broker")}/uploads/${id}`, {
    method: "DELETE",
    headers: { Authorization: `Bearer ${token}` },
  });
  return seconds;
}

/** Bytes in memory of this process's descendants that are part of a browser. */
async function memory() {
  const lines = execFileSync("ps", ["-e", "-o", "pid=,ppid=,comm="], { encoding: "utf8" }).trim();
  const all = lines.split("\n").map((line) => line.trim().split(/\s+/));
  const mine = new Set([String(process.pid)]);
  for (let size = 0; size < mine.size; ) {
    size = mine.size;
    for (const [pid, parent] of all) if (mine.has(parent)) mine.add(pid);
  }
  const browsers = all.filter(
    ([pid, , command]) =>
      mine.has(pid) && /chrom|firefox|Isolated|Web|MiniBrowser|Socket/i.test(command),
  );
  const sizes = await Promise.all(
    browsers.map(async ([pid]) => {
      const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
      return Number(/^Pss_Anon: +(\d+)/m.exec(text)?.[1] ?? 0) * 1024;
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function peakDuring(work) {
  const before = await memory();
  let peak = before;
  let isOver = false;
  const end = work.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    peak = Math.max(peak, await memory());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await end;
  return { before, peak };
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function sparse(path, bytes) {
  const file = await open(path, "w");
  await file.truncate(bytes);
  await file.close();
  return path;
}

async function measure(name, system, network, folder) {
  const engine = await ENGINES[name]();
  try {
    const address = new URL(network.page(`bench-${name.toLowerCase()}`));
    address.searchParams.set("broker", system.broker);
    const page = await engine.open(String(address));
    await page.choose([await sparse(join(folder, "speed.mp4"), SPEED_BYTES)]);
    const seconds = { client: [], hand: [] };
    for (let round = 0; round <= ROUNDS; round += 1) {
      const both = [
        ["client", byClient],
        ["hand", byHand],
      ];
      for (const [who, work] of round % 2 ? both : both.reverse()) {
        const took = await page.evaluate(work);
        // The first round warms up.
        if (round) seconds[who].push(took);
      }
    }
    const [client, hand] = [median(seconds.client), median(seconds.hand)];
    const ratio = median(seconds.hand.map((took, round) => took / seconds.client[round]));
    const speed = (value) => `${(SPEED_BYTES / MEGABYTE / value).toFixed(0)} MB/s`;
    console.log(
      `${name}: client ${speed(client)}, bare XMLHttpRequest ${speed(hand)}, median ratio of ${ROUNDS} pairs ${ratio.toFixed(3)}`,
    );
    await page.close();
    const large = await engine.open(String(address));
    await large.choose([await sparse(join(folder, "memory.mp4"), MEMORY_BYTES)]);
    // What the tool that drives a browser keeps of a request shows in both.
    for (const [who, work] of [
      ["the client", byClient],
      ["a bare XMLHttpRequest", byHand],
    ]) {
      const { before, peak } = await peakDuring(large.evaluate(work));
      const [were, more] = [before, peak - before].map((bytes) => (bytes / MEGABYTE).toFixed(0));
      console.log(`${name}: 1 GiB by ${who} took ${more} MB more than the ${were} MB before`);
    }
  } finally {
    await engine.stop();
  }
}

const folder = await mkdtemp(join(tmpdir(), "browser-put-"));
const system = await startSystem();
const network = await new TroubledNetwork(system).start();
try {
  for (const name of (process.argv[2] ?? Object.keys(ENGINES).join(",")).split(","))
    await measure(name, system, network, folder);
} finally {
  network.stop();
  await system.stop();
  await rm(folder, { recursive: true });
}
