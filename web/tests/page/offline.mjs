/**
 * What the page promises while the world around it changes, in a real Chromium.
 *
 *   node tests/page/offline.mjs PROMISE URL [DETAIL]...    URL of a page with its bundle
 *
 * A promise says `ready` on stdout when the world around it is to change (the server is killed, the
 * site published anew) and goes on at a line on stdin. Ends with 1, and the reason, when it is broken.
 * CHROMIUM names the browser.
 */

import assert from "node:assert/strict";
import { launchChromium } from "../browser/chromium.mjs";
import { paint as paintNew, problem, until } from "./visitor.mjs";

const [promise, url, ...details] = process.argv.slice(2);
const browser = await launchChromium();
const context = await browser.newContext();

async function visit(query) {
  const tab = await context.newPage();
  tab.setDefaultTimeout(180_000);
  tab.on("pageerror", (error) => assert.fail(error));
  await tab.goto(new URL(query, url).href).catch((error) => {
    if (!/interrupted|ERR_ABORTED/.test(error.message)) throw error; // by the reload that isolates
  });
  return tab;
}

/** Waits until the page can paint, and paints; the picture's bytes. */
async function paint(tab) {
  await tab.locator("[data-testid=generate]:enabled").waitFor();
  await paintNew(tab);
  return tab.getByTestId("result").evaluate(async ({ src }) => {
    return [...new Uint8Array(await (await fetch(src)).arrayBuffer())];
  });
}

/** Until the service worker has all that this visit used. */
async function untilKept(tab) {
  await until(tab, async () => {
    await navigator.serviceWorker.ready;
    const kept = await (await caches.open("brushlet-used")).keys();
    const has = (end) => kept.some(({ url }) => url.endsWith(end));
    return has(".wasm") && has(".mjs") && kept.some(({ url }) => url.includes("/assets/ort."));
  });
}

/** Until the browser has stored what the model needs besides the UNet. */
async function untilWhole(tab) {
  await until(tab, async () => {
    const manifest = await (await fetch("bundle/manifest.json")).json();
    const { tokenizer, text_encoder, vae_decoder, samplers, shards, hints } = manifest;
    const first = samplers.find(({ name }) => name === (hints.sampler ?? samplers[0].name));
    const graphs = [text_encoder.graph, vae_decoder.graph];
    const wanted = [tokenizer.tokenizer_json, tokenizer.tokenizer_config, text_encoder.slots];
    wanted.push(first.file, ...graphs.map(({ file }) => file));
    wanted.push(...graphs.flatMap((graph) => graph.shards.map((key) => shards[key])));
    let folder = await navigator.storage.getDirectory();
    for (const name of ["brushlet", "files"]) folder = await folder.getDirectoryHandle(name);
    const names = new Set();
    for await (const name of folder.keys()) names.add(name);
    return wanted.every(({ sha256 }) => names.has(sha256) && !names.has(`${sha256}.part`));
  });
}

const changed = async () => {
  console.log("ready");
  await new Promise((resolve) => process.stdin.once("data", resolve));
};

const promises = {
  async "after one visit, a reload paints without network and server"() {
    const tab = await visit("?mode=here&provider=wasm");
    const first = await paint(tab);
    await untilKept(tab);
    await changed();
    await context.setOffline(true);
    await tab.reload();
    assert.equal(await tab.evaluate(() => crossOriginIsolated), true);
    assert.deepEqual(await paint(tab), first);
    assert.equal(await tab.getByTestId("mode").getAttribute("data-mode"), "here");
  },

  async "after a visit that painted nothing, a reload paints without network and server"() {
    const tab = await visit("?mode=here&provider=wasm");
    await tab.locator("[data-testid=generate]:enabled").waitFor();
    await untilWhole(tab);
    await untilKept(tab);
    await changed();
    await context.setOffline(true);
    await tab.reload();
    await paint(tab);
  },

  async "a page without a network still opens, and names what it misses"() {
    const tab = await visit("?mode=server&provider=wasm");
    await paint(tab);
    await untilKept(tab);
    await changed();
    await context.setOffline(true);
    await tab.reload();
    await problem(tab, "server-down");
  },

  async "a server that is killed is named"() {
    const tab = await visit("?mode=server&provider=wasm");
    await tab.locator("[data-testid=generate]:enabled").waitFor();
    await changed();
    await tab.getByTestId("generate").click();
    assert.match(await problem(tab, "server-down"), /v1\/encode/);
  },

  async "a damaged shard is named; Retry gets the mended one"() {
    const [file, fault] = details;
    const tab = await visit("?mode=here&provider=wasm");
    const text = await problem(tab, "damaged");
    assert.ok(text.includes(file) && text.includes(fault), text);
    await changed();
    await tab.getByTestId("retry").click();
    await paint(tab);
  },

  async "a new version asks before it replaces the page"() {
    const named = (tab) => tab.locator("meta[name=brushlet-server]").getAttribute("content");
    const tab = await visit("?mode=server&provider=wasm");
    await paint(tab);
    await tab.evaluate(() => navigator.serviceWorker.ready);
    const before = await named(tab);
    assert.equal(await tab.getByTestId("update").count(), 0);
    await changed();
    await tab.reload();
    await tab.getByTestId("update").waitFor();
    assert.equal(await named(tab), before); // nobody has been asked yet
    await tab.waitForTimeout(500);
    assert.equal(await named(tab), before);
    await Promise.all([
      tab.waitForEvent("load"), //
      tab.getByTestId("reload").click(),
    ]);
    await tab.locator("[data-testid=generate]:enabled").waitFor();
    assert.notEqual(await named(tab), before);
    assert.equal(await tab.getByTestId("update").count(), 0);
    await paint(tab);
  },
};

try {
  await promises[promise]();
  console.log("kept");
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
await browser.close();
process.stdin.destroy();
