/**
 * Loading as a visitor's browser does it: real Chromium, its real storage, and a server that does what a
 * test tells it: cuts connections, changes files, counts what it is asked for.
 *
 *   node tests/browser/loading.mjs --bundle DIR     DIR has an external and a merged style
 *
 * Prints a line for each promise and ends with 1 when one is broken. CHROMIUM names the browser;
 * ONLY picks promises by a part of their name.
 */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { launchChromium } from "./chromium.mjs";
import { faultyServer } from "./faulty.mjs";
import { buildPage } from "./serve.mjs";

const { values: options } = parseArgs({ options: { bundle: { type: "string" } } });
if (!options.bundle)
  throw new Error("Name the bundle: node tests/browser/loading.mjs --bundle DIR");
const folder = resolve(options.bundle);
const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
const style = manifest.styles.find(({ kind }) => kind === "external");
const merged = manifest.styles.find(({ kind }) => kind === "merged");
const base = manifest.unet.find(({ name }) => name === "base");
const graph = base.graphs.find(
  ({ compute, providers }) => compute === "fp32" && providers.includes("wasm"),
);
/** The largest file that every visit needs. */
const shard = graph.shards.map((key) => manifest.shards[key]).sort((a, b) => b.bytes - a.bytes)[0];
const half = Math.floor(shard.bytes / 2);

const page = await buildPage("loading.html");
const server = await faultyServer(page, { bundle: folder, twin: folder });
// An address that Chromium does not take for its own machine's is an insecure context.
const browser = await launchChromium({ args: ["--host-resolver-rules=MAP far.test 127.0.0.1"] });

/** A new visitor, or another tab of one. */
async function visit(context, host = server.url) {
  const tab = await (context ?? (await browser.newContext())).newPage();
  tab.setDefaultTimeout(120_000);
  tab.on("pageerror", (error) => console.error(String(error)));
  await tab.goto(`${host}tests/browser/loading.html`);
  await tab.waitForFunction(() => window.visit !== undefined);
  return tab;
}

const load = (tab, ...lacking) => tab.evaluate((lacking) => window.visit.load(lacking), lacking);

/** Loads, and tells what of it the server heard. */
async function opened(tab, ...lacking) {
  server.asked = [];
  const outcome = await load(tab, ...lacking);
  assert.ok(outcome.ok, JSON.stringify(outcome.problem));
  return { ...outcome.value, asked: server.asked };
}

const names = (asked) => asked.map(({ name }) => name).filter((name) => name !== "manifest.json");
const lastProgress = (tab) => tab.evaluate(() => window.visit.progress.at(-1));
const waited = (tab, what) =>
  tab.evaluate((what) => window.visit.progress.some(({ waiting }) => waiting === what), what);
const latents = (tab) =>
  tab.evaluate((shape) => window.visit.denoise(shape), {
    tokens: 77,
    width: manifest.model.cross_attention_dim,
    size: manifest.model.sample_size,
    sampler: manifest.samplers[0].name,
  });

/** Starts a load whose shard stops half-way, and waits until it has. @returns lets the rest go */
async function halfWay(tab) {
  let letGo;
  const gate = new Promise((resolve) => {
    letGo = resolve;
  });
  server.next(shard.url, { until: half, gate });
  const outcome = load(tab);
  outcome.catch(() => {}); // of a tab that is closed meanwhile
  await tab.waitForFunction(
    ([file, half]) => {
      const counts = window.visit.progress
        .filter((one) => one.file === file)
        .map(({ loadedBytes }) => loadedBytes);
      return counts.at(-1) - counts[0] >= half;
    },
    [shard.url, half],
  );
  return { outcome, letGo };
}

/** Changes a byte of a stored file, and nothing that tells of it. */
const damage = (tab, sha256) =>
  tab.evaluate(async (sha256) => {
    let folder = await navigator.storage.getDirectory();
    for (const name of ["brushlet", "files"]) folder = await folder.getDirectoryHandle(name);
    const writable = await (await folder.getFileHandle(sha256)).createWritable({
      keepExistingData: true,
    });
    await writable.write({ type: "write", position: 100, data: new Uint8Array([1, 2, 3, 4]) });
    await writable.close();
  }, sha256);

async function quota(tab, bytes) {
  const session = await tab.context().newCDPSession(tab);
  const origin = new URL(server.url).origin;
  await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: bytes });
}

const promises = {
  async "the first visit stores everything, the second downloads nothing"() {
    const tab = await visit();
    const first = await opened(tab);
    assert.deepEqual(first.storage, {
      kind: "opfs",
      persisted: first.storage.persisted,
      offline: false,
    });
    assert.ok(names(first.asked).includes(shard.url));
    const { storedBytes, loadedBytes, totalBytes } = await lastProgress(tab);
    assert.deepEqual([storedBytes, loadedBytes], [0, totalBytes]);
    const picture = await latents(tab);
    const again = await visit(tab.context());
    await tab.close();
    const second = await opened(again);
    assert.deepEqual(names(second.asked), []);
    const progress = await lastProgress(again);
    assert.equal(progress.storedBytes, progress.totalBytes);
    // What the first visit measured holds; its golden vector is not needed again.
    assert.equal(progress.totalBytes, totalBytes - base.golden.file.bytes);
    assert.equal(second.report.error, first.report.error);
    assert.equal(await latents(again), picture);
  },

  async "a visit without a network opens what the last one left"() {
    const tab = await visit();
    const { report } = await opened(tab);
    server.silent = true;
    const outcome = await load(tab);
    server.silent = false;
    assert.ok(outcome.ok, JSON.stringify(outcome.problem));
    assert.equal(outcome.value.storage.offline, true);
    assert.equal(outcome.value.report.error, report.error);
  },

  async "a shard whose tab was closed goes on where it was"() {
    const tab = await visit();
    const { letGo } = await halfWay(tab);
    const again = await visit(tab.context());
    await tab.close();
    letGo();
    const { asked } = await opened(again);
    const rest = asked.filter(({ name }) => name === shard.url);
    assert.equal(rest.length, 1);
    const [, from] = /^bytes=(\d+)-$/.exec(rest[0].range);
    assert.ok(Number(from) >= half, `asked from ${from}`);
    assert.equal(rest[0].ifRange, server.etag(shard.url));
    assert.equal(rest[0].sent, shard.bytes - from);
  },

  async "a connection that drops is taken up again"() {
    const tab = await visit();
    server.next(shard.url, { until: half, cut: true });
    const { asked } = await opened(tab);
    const [first, second] = asked.filter(({ name }) => name === shard.url);
    assert.equal(first.range, undefined);
    assert.equal(second.range, `bytes=${half}-`);
    assert.equal(await waited(tab, "network"), true);
  },

  async "a shard that changed on the server meanwhile begins anew"() {
    const tab = await visit();
    const { letGo } = await halfWay(tab);
    const again = await visit(tab.context());
    await tab.close();
    letGo();
    server.version += 1;
    const { asked } = await opened(again);
    const [anew] = asked.filter(({ name }) => name === shard.url);
    assert.equal(anew.status, 200);
    assert.equal(anew.sent, shard.bytes);
  },

  async "a damaged stored shard is fetched again, alone"() {
    const tab = await visit();
    await opened(tab);
    await damage(tab, shard.sha256);
    const { asked, storage } = await opened(tab);
    assert.deepEqual(names(asked), [shard.url]);
    assert.equal(storage.kind, "opfs");
    assert.deepEqual(names((await opened(tab)).asked), []);
  },

  async "too little room is seen before the download"() {
    const tab = await visit();
    const { storage } = await opened(tab, "room");
    assert.equal(storage.kind, "memory");
    assert.equal(storage.reason, "quota");
    assert.match(storage.detail, /\d+ bytes are to be stored, 500000 are free/);
    assert.equal((await lastProgress(tab)).storage, "memory");
    assert.ok((await latents(tab)) > 0);
  },

  async "a small quota that the browser did not tell of costs the storing alone"() {
    const tab = await visit();
    await quota(tab, 500_000);
    const { storage, asked } = await opened(tab);
    assert.deepEqual([storage.kind, storage.reason], ["memory", "quota"]);
    assert.equal(new Set(names(asked)).size, names(asked).length, "a file was asked for twice");
    assert.ok((await latents(tab)) > 0);
  },

  async "a disk that fills up half-way costs no byte twice"() {
    const tab = await visit();
    const { outcome, letGo } = await halfWay(tab);
    await quota(tab, 1);
    letGo();
    const ended = await outcome;
    assert.ok(ended.ok, JSON.stringify(ended.problem));
    const { kind, reason } = ended.value.storage;
    assert.deepEqual([kind, reason], ["memory", "quota"]);
    assert.equal(server.asked.filter(({ name }) => name === shard.url).length, 1);
  },

  async "without OPFS files go to Cache Storage"() {
    const tab = await visit();
    const { storage } = await opened(tab, "opfs");
    assert.equal(storage.kind, "cache");
    assert.equal(storage.reason, "absent");
    const picture = await latents(tab);
    assert.deepEqual(names((await opened(tab, "opfs")).asked), []);
    assert.equal(await latents(tab), picture);
    const { bundles } = await tab.evaluate(() => window.visit.listStorage());
    assert.deepEqual(
      bundles.map(({ kind }) => kind),
      ["cache"],
    );
    await tab.evaluate(() => window.visit.removeAll());
    assert.equal((await tab.evaluate(() => window.visit.listStorage())).bytes, 0);
  },

  async "without any store, and on an insecure page, it works from memory"() {
    const { storage } = await opened(await visit(), "opfs", "caches");
    assert.deepEqual([storage.kind, storage.reason], ["memory", "absent"]);
    const insecure = await visit(undefined, server.url.replace("127.0.0.1", "far.test"));
    assert.equal(await insecure.evaluate(() => isSecureContext), false);
    const far = await opened(insecure);
    assert.deepEqual([far.storage.kind, far.storage.reason], ["memory", "insecure"]);
  },

  async "two tabs download once; the one that waits says so"() {
    const one = await visit();
    const other = await visit(one.context());
    server.asked = [];
    const { outcome, letGo } = await halfWay(one);
    const second = load(other);
    await other.waitForFunction(() =>
      window.visit.progress.some(({ waiting }) => waiting === "tab"),
    );
    letGo();
    for (const { ok, problem } of [await outcome, await second])
      assert.ok(ok, JSON.stringify(problem));
    const asked = names(server.asked);
    assert.equal(new Set(asked).size, asked.length, "a file was asked for twice");
  },

  async "without locks a file is whole for the other tab when it is, and stays so"() {
    const tab = await visit();
    assert.deepEqual(await tab.evaluate(() => window.visit.meet()), {
      wholeWhenOpened: false,
      wholeHalfWay: false,
      wholeAtTheEnd: true,
      keptByTheOther: "a shard".length,
      readMeanwhile: "a shard",
      readAfterwards: "a shard",
      keptOfAnother: 0,
      wholeWhenLeft: false,
    });
  },

  async "without locks two tabs work all the same"() {
    const one = await visit();
    const other = await visit(one.context());
    const outcomes = await Promise.all([load(one, "locks"), load(other, "locks")]);
    for (const { ok, problem } of outcomes) assert.ok(ok, JSON.stringify(problem));
  },

  async "what is stored is listed, by bundle and style, and shared"() {
    const tab = await visit();
    await opened(tab);
    await tab.evaluate((name) => window.visit.prefetchStyle(name), style.name);
    await tab.evaluate((name) => window.visit.prefetchStyle(name), merged.name);
    const list = await tab.evaluate(() => window.visit.listStorage());
    const [bundle] = list.bundles;
    assert.deepEqual([bundle.name, bundle.baseHash], [manifest.name, manifest.base_hash]);
    assert.deepEqual([bundle.bytes, bundle.sharedBytes], [list.bytes, 0]);
    assert.deepEqual(
      bundle.styles.map(({ name }) => name).sort(),
      [style.name, merged.name].sort(),
    );
    assert.equal(bundle.styles.find(({ name }) => name === style.name).bytes, style.pack.bytes);
    assert.ok(list.quota > list.usage && list.usage > list.bytes / 2);

    server.asked = [];
    const twin = await tab.evaluate(() => window.visit.load([], "/twin/manifest.json"));
    assert.ok(twin.ok);
    assert.deepEqual(names(server.asked), []);
    const both = await tab.evaluate(() => window.visit.listStorage());
    assert.equal(both.bytes, list.bytes);
    assert.deepEqual(
      both.bundles.map(({ sharedBytes }) => sharedBytes),
      [list.bytes, list.bytes],
    );
  },

  async "removing a style or a bundle breaks no tab that has it open"() {
    const tab = await visit();
    await opened(tab);
    await tab.evaluate((name) => window.visit.prefetchStyle(name), style.name);
    const picture = await latents(tab);
    const panel = await visit(tab.context());
    await panel.evaluate(
      (name) => window.visit.removeStyle("/bundle/manifest.json", name),
      style.name,
    );
    const [bundle] = (await panel.evaluate(() => window.visit.listStorage())).bundles;
    assert.deepEqual(bundle.styles, []);
    assert.ok(bundle.bytes > shard.bytes);
    await panel.evaluate(() => window.visit.removeBundle("/bundle/manifest.json"));
    const { bundles, bytes } = await panel.evaluate(() => window.visit.listStorage());
    assert.deepEqual([bundles, bytes], [[], 0]);
    assert.equal(await latents(tab), picture);
    server.asked = [];
    const later = await tab.evaluate((name) => window.visit.prefetchStyle(name), merged.name);
    assert.ok(later.ok, JSON.stringify(later.problem));
    assert.ok(names(server.asked).length > 0);
    assert.ok(names((await opened(tab)).asked).length > 0);
  },

  async "what a tab is loading is not removed"() {
    const tab = await visit();
    const panel = await visit(tab.context());
    const { outcome, letGo } = await halfWay(tab);
    const refused = panel.evaluate(() => window.visit.removeBundle("/bundle/manifest.json"));
    await assert.rejects(refused, /A tab is loading these files/);
    letGo();
    assert.ok((await outcome).ok);
    await panel.evaluate(() => window.visit.removeBundle("/bundle/manifest.json"));
  },
};

let broken = 0;
for (const [name, keep] of Object.entries(promises)) {
  if (process.env.ONLY && !name.includes(process.env.ONLY)) continue;
  const begun = performance.now();
  server.reset();
  try {
    await keep();
    console.log(`kept     ${name} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
  } catch (error) {
    broken += 1;
    const lines = String(error.message).split("\n").slice(0, 12);
    console.log(`BROKEN   ${name}\n         ${lines.join("\n         ")}`);
  }
  for (const context of browser.contexts()) await context.close();
}
await browser.close();
server.close();
process.exitCode = broken ? 1 : 0;
