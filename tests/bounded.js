// The functions of `node:test`, each with a time limit: a test that waits for ever fails under its own name, and the
// hooks after it still clean up. The runner itself can only end whole files, and then nothing stops their processes.
import * as runner from "node:test";

const LIMIT = 120_000; // milliseconds

export const { describe } = runner;
export const test = (name, work, timeout = LIMIT) => runner.test(name, { timeout }, work);
export const before = (work) => runner.before(work, { timeout: LIMIT });
export const after = (work) => runner.after(work, { timeout: LIMIT });
export const beforeEach = (work) => runner.beforeEach(work, { timeout: LIMIT });
export const afterEach = (work) => runner.afterEach(work, { timeout: LIMIT });
