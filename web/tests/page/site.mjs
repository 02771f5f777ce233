/**
 * A published site as a visitor has it: real Chromium, real static hosts, the server elsewhere.
 *
 *   node tests/page/site.mjs PROMISE URL    URL of a site that `make dist` wrote
 *
 * Ends with 1, and the reason, when the promise is broken there. CHROMIUM names the browser.
 */

import assert from "node:assert/strict";
import { launchChromium } from "../browser/chromium.mjs";
import { paint as paintNew, problem, until } from "./visitor.mjs";

const [promise, url] = process.argv.slice(2);
const browser = await launchChromium();

async function visit(context, query) {
  const tab = await context.newPage();
  tab.setDefaultTimeout(120_000);
  tab.loads = 0;
  tab.on("request", (request) => {
    if (request.isNavigationRequest()) tab.loads += 1;
  });
  tab.on("pageerror", (error) => assert.fail(error));
  await tab.goto(new URL(query, url).href).catch((error) => {
    if (!/interrupted|ERR_ABORTED/.test(error.message)) throw error; // by the one reload
  });
  return tab;
}

/** Waits until the page can paint, and paints. */
async function paint(tab) {
  await tab.locator("[data-testid=generate]:enabled").waitFor();
  await paintNew(tab);
  const width = await tab.getByTestId("result").evaluate((image) => image.naturalWidth);
  assert.ok(width > 0);
  return tab.getByTestId("provider").textContent();
}

const isolated = (tab) => tab.evaluate(() => crossOriginIsolated);
const workers = (tab) =>
  tab.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length);

const promises = {
  async "headers isolate the page: two threads, no reload"() {
    const tab = await visit(await browser.newContext(), "?provider=wasm&threads=2");
    assert.match(await paint(tab), /2 threads/);
    assert.equal(await isolated(tab), true);
    await tab.evaluate(() => navigator.serviceWorker.ready); // for the next visit, offline
    assert.equal(tab.loads, 1);
  },

  async "the service worker isolates the page: two threads, one reload"() {
    const context = await browser.newContext();
    const first = await visit(context, "?provider=wasm&threads=2");
    assert.match(await paint(first), /2 threads/);
    assert.equal(await isolated(first), true);
    assert.equal(first.loads, 2);
    const again = await visit(context, "?provider=wasm&threads=2");
    assert.match(await paint(again), /2 threads/);
    assert.equal(again.loads, 1);
    const without = await visit(context, "?provider=wasm&isolate=0");
    assert.match(await paint(without), /1 thread/);
    assert.equal(await isolated(without), false);
    assert.equal(without.loads, 1);
  },

  async "isolate=0 asks for no service worker"() {
    const tab = await visit(await browser.newContext(), "?provider=wasm&isolate=0");
    assert.match(await paint(tab), /1 thread/);
    assert.equal(await isolated(tab), false);
    assert.equal(await workers(tab), 0);
    assert.equal(tab.loads, 1);
  },

  async "isolation that fails costs threads, not the picture"() {
    const context = await browser.newContext();
    const tab = await visit(context, "?provider=wasm");
    assert.match(await paint(tab), /1 thread/);
    assert.equal(await isolated(tab), false);
    assert.ok(tab.loads <= 2, `${tab.loads} loads`);
    await tab.reload();
    await paint(tab);
    assert.ok(tab.loads <= 3, `${tab.loads} loads`);
  },

  async "a site without a server paints all the same"() {
    const tab = await visit(await browser.newContext(), "?provider=wasm&isolate=0");
    await paint(tab);
    assert.equal(await tab.getByTestId("mode").getAttribute("data-mode"), "here");
  },

  async "a site without a server says so where one is asked for"() {
    const tab = await visit(await browser.newContext(), "?isolate=0&mode=server");
    assert.match(await problem(tab, "no-server"), /make dist SERVER=/);
  },

  /** Paints, says so, waits for a line on stdin (the site is published anew) and paints again. */
  async "a visitor returns"() {
    const context = await browser.newContext();
    const first = await visit(context, "?provider=wasm");
    await paint(first);
    // What the service worker keeps comes from the browser's cache, or is fetched now.
    await until(first, async () => {
      await navigator.serviceWorker.ready;
      const kept = await (await caches.open("brushlet-used")).keys();
      return [".wasm", ".mjs"].every((end) => kept.some(({ url }) => url.endsWith(end)));
    });
    await first.close();
    console.log("painted");
    await new Promise((resolve) => process.stdin.once("data", resolve));
    await paint(await visit(context, "?provider=wasm"));
  },
};

try {
  await promises[promise]();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
await browser.close();
process.stdin.destroy();
