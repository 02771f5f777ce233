/**
 * Runs jobs (see jobs.ts) on a bundle in a real Chromium, so that their outputs can be held against
 * other runtimes:
 *
 *     node web/tests/browser/parity.mjs --bundle DIR --jobs jobs.json --out DIR [--webgpu] [--isolated=false]
 *
 * --webgpu offers WebGPU, computed in software. Outputs are safetensors files in --out, named by job,
 * and results.json. The exit code is 0 when all jobs were run, also those that ended in a problem.
 */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { launchChromium } from "./chromium.mjs";
import { serve } from "./serve.mjs";

const { values: options } = parseArgs({
  options: {
    bundle: { type: "string" },
    jobs: { type: "string" },
    out: { type: "string" },
    webgpu: { type: "boolean", default: false },
    isolated: { type: "string", default: "true" },
  },
});
if (!options.bundle || !options.jobs || !options.out) {
  console.error(
    "usage: parity.mjs --bundle DIR --jobs FILE --out DIR [--webgpu] [--isolated=false]",
  );
  process.exit(2);
}

const jobs = JSON.parse(await readFile(options.jobs, "utf8"));
const out = resolve(options.out);
await mkdir(out, { recursive: true });
const server = await serve({
  bundle: resolve(options.bundle),
  inputs: dirname(resolve(options.jobs)),
  out,
  isolated: options.isolated !== "false",
});
const browser = await launchChromium({ webgpu: options.webgpu });
const results = [];
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.error(`[${message.type()}] ${message.text()}`));
  page.on("pageerror", (error) => console.error(`[page] ${error.message}`));
  await page.goto(server.url);
  const ready = () => page.waitForFunction(() => window.runJob !== undefined);
  await ready();
  for (const job of jobs) {
    const began = performance.now();
    const before = server.sent.length;
    if (job.kind === "reload") await page.reload().then(ready);
    const result =
      job.kind === "reload"
        ? { id: job.id, ok: true }
        : await page.evaluate((job) => window.runJob(job), job);
    if (result.ok) result.sent = server.sent.slice(before);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    console.error(
      `${job.kind} ${job.id}: ${result.ok ? "ok" : result.problem.message} (${seconds} s)`,
    );
    results.push(result);
  }
} finally {
  await browser.close();
  server.close();
  await writeFile(join(out, "results.json"), `${JSON.stringify(results, null, 1)}\n`);
}
