// The test runner's own words, each with an end: what waits for ever fails by its name, and what comes after it still
// cleans up. The runner itself only ends whole files, and then nobody stops what they started.
import * as runner from "node:test";

const LIMIT = 120_000; // milliseconds

export const { describe } = runner;
export const test = (name, work, timeout = LIMIT) => runner.test(name, { timeout }, work);
export const before = (work) => runner.before(work, { timeout: LIMIT });
export const after = (work) => runner.after(work, { timeout: LIMIT });
export const beforeEach = (work) => runner.beforeEach(work, { timeout: LIMIT });
export const afterEach = (work) => runner.afterEach(work, { timeout: LIMIT });
