/**
 * Seconds and peak memory of loading in a real Chromium; benchmarks/loading.py says what and calls it:
 *
 *     node web/tests/browser/peak.mjs --bundle DIR --stand-ins DIR [--memory]
 */

import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { launchProfile } from "./chromium.mjs";
import { faultyServer } from "./faulty.mjs";
import { buildPage } from "./serve.mjs";

const { values: options } = parseArgs({
  options: {
    bundle: { type: "string" },
    "stand-ins": { type: "string" },
    memory: { type: "boolean", default: false },
  },
});
const folders = { bundle: resolve(options.bundle), standins: resolve(options["stand-ins"]) };
const server = await faultyServer(await buildPage("peak.html"), folders);
const browser = await launchProfile();

/** Resident bytes of our renderers (the largest) and of all our processes. */
function resident() {
  const parents = new Map();
  const sizes = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      parents.set(pid, /^PPid:\s+(\d+)/m.exec(status)[1]);
      const renderer = readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer");
      // Without the files that are mapped: those are the same for all.
      const bytes = 1024 * Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0);
      const shared = 1024 * Number(/^RssShmem:\s+(\d+)/m.exec(status)?.[1] ?? 0);
      sizes.set(pid, { renderer, bytes: bytes + shared });
    } catch {
      // it has ended meanwhile
    }
  }
  const ours = (pid) => pid === String(process.pid) || (parents.has(pid) && ours(parents.get(pid)));
  const all = [...sizes].filter(([pid]) => pid !== String(process.pid) && ours(pid));
  const renderers = all.filter(([, { renderer }]) => renderer).map(([, { bytes }]) => bytes);
  return {
    renderer: Math.max(0, ...renderers),
    all: all.reduce((sum, [, { bytes }]) => sum + bytes, 0),
  };
}

/** Runs a phase of the page and prints what it cost. */
async function measured(what, phase, ...args) {
  const before = resident();
  const peak = { ...before };
  const timer = setInterval(() => {
    const now = resident();
    peak.renderer = Math.max(peak.renderer, now.renderer);
    peak.all = Math.max(peak.all, now.all);
  }, 100);
  const began = performance.now();
  const told = await tab.evaluate(([phase, args]) => window.phases[phase](...args), [phase, args]);
  const seconds = (performance.now() - began) / 1000;
  clearInterval(timer);
  const mega = (bytes) => `${Math.round(bytes / 1e6)} MB`;
  console.log(
    `${what}: ${seconds.toFixed(1)} s; renderer ${mega(before.renderer)}, peak ${mega(peak.renderer)}; ` +
      `all processes, peak ${mega(peak.all)}${told ? `; ${told}` : ""}`,
  );
}

let tab;
async function visit() {
  await tab?.close();
  tab = await browser.newPage();
  tab.setDefaultTimeout(600_000);
  tab.on("pageerror", (error) => console.error(String(error)));
  await tab.goto(`${server.url}tests/browser/peak.html`);
  await tab.waitForFunction(() => window.phases !== undefined);
}

try {
  for (const nth of ["first", "second"]) {
    await visit();
    await measured(`${nth} visit, shards`, "shards", options.memory);
    await measured(`${nth} visit, sessions`, "sessions");
  }
  await visit();
  await measured("the bundle's own graphs", "open");
} finally {
  await browser.close();
  server.close();
}
