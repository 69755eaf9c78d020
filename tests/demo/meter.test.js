import assert from "node:assert/strict";
import { createMeter } from "../../sandbox/demo/page/meter.js";
import { test } from "../bounded.js";

test("the meter has no speed after the first event", () => {
  assert.equal(createMeter(1000).read(100, 0), null);
});

test("the meter computes speed and time left from the bytes sent", () => {
  const meter = createMeter(1000);
  meter.read(0, 0);
  assert.deepEqual(meter.read(200, 1000), { bytesPerSecond: 200, secondsLeft: 4 });
});

test("the meter follows a change of speed within seconds", () => {
  const meter = createMeter(1_000_000);
  meter.read(0, 0);
  meter.read(100_000, 1000);
  for (let second = 2; second <= 10; second += 1) meter.read(100_000 + second * 100, second * 1000);
  assert.equal(meter.read(100_000 + 11 * 100, 11_000).bytesPerSecond, 100);
});

test("the meter has no speed while no bytes are sent", () => {
  const meter = createMeter(1000);
  meter.read(100, 0);
  assert.equal(meter.read(100, 1000), null);
});
