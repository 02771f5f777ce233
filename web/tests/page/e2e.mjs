/**
 * The page as a visitor has it: real Chromium, real worker, real server.
 *
 *   node tests/page/e2e.mjs URL     URL of a running `python -m server` with an external style
 *
 * Prints a line for each promise and ends with 1 when one is broken. CHROMIUM names the browser;
 * ONLY picks promises by a part of their name.
 */

import assert from "node:assert/strict";
import { launchChromium } from "../browser/chromium.mjs";
import { pixelsOf, problem } from "./visitor.mjs";

const url = process.argv[2];
if (!url) throw new Error("Name the server: node tests/page/e2e.mjs http://127.0.0.1:8000/");
const browser = await launchChromium();
const manifest = await (await fetch(new URL("bundle/manifest.json", url))).json();
const styles = manifest.styles ?? [];
const style =
  styles.find(({ kind, name }) => kind === "external" && name === "miyazaki") ??
  styles.find(({ kind }) => kind === "external");
if (!style) throw new Error(`The bundle at ${url} has no external style to try`);

const testIds = {
  ready: "[data-testid=generate]:enabled",
  strength: `[data-testid=strength-${style.name}]`,
};

/** Notes in the page each worker and what it is asked. */
function watchWorkers() {
  globalThis.workers = { made: 0, asked: [] };
  globalThis.Worker = class extends Worker {
    constructor(...options) {
      super(...options);
      globalThis.workers.made += 1;
    }
    postMessage(message, ...rest) {
      globalThis.workers.asked.push(message?.type);
      super.postMessage(message, ...rest);
    }
  };
}

/** Counts in a worker the stored files that it reads from now on: a new session would read its own. */
function watchStorage() {
  globalThis.filesRead = 0;
  for (const name of ["getFile", "createSyncAccessHandle"]) {
    const read = FileSystemFileHandle.prototype[name];
    FileSystemFileHandle.prototype[name] = function (...options) {
      globalThis.filesRead += 1;
      return read.apply(this, options);
    };
  }
}

/** A new visitor; `routes` stand between browser and server; `mode` is who does what. */
async function visit(routes = {}, { mode = "server", hash = "", ...options } = {}) {
  const context = await browser.newContext({ locale: "en-US", ...options });
  const tab = await context.newPage();
  tab.setDefaultTimeout(120_000);
  tab.faults = [];
  tab.asked = [];
  tab.on("pageerror", (error) => tab.faults.push(String(error)));
  tab.on("request", (request) => tab.asked.push(request.url()));
  await tab.addInitScript(watchWorkers);
  for (const [pattern, answer] of Object.entries(routes)) await tab.route(pattern, answer);
  await tab.goto(new URL(`?provider=wasm&mode=${mode}${hash}`, url).href);
  return tab;
}

async function visitReady(routes, options) {
  const tab = await visit(routes, options);
  await tab.locator(testIds.ready).waitFor();
  return tab;
}

/** The picture's pixels, once it is there. */
async function paint(tab) {
  const result = tab.getByTestId("result");
  const before = (await result.count()) ? Number(await result.getAttribute("data-number")) : 0;
  await tab.getByTestId("generate").click();
  await tab.locator(`[data-testid=result][data-number="${before + 1}"]`).waitFor();
  return pixelsOf(tab, "result");
}

async function chooseOnly(tab) {
  for (const { name } of styles) {
    const card = tab.getByTestId(`style-${name}`);
    const on = (await card.getAttribute("aria-pressed")) === "true";
    if (on !== (name === style.name)) await card.click();
  }
}

const promises = {
  async "a picture is painted in an isolated page, within tolerance of PyTorch"() {
    const tab = await visitReady();
    assert.equal(await tab.evaluate(() => crossOriginIsolated), true);
    const [, error] = /— ([\d.e-]+) from PyTorch/.exec(
      await tab.getByTestId("provider").textContent(),
    );
    assert.ok(Number(error) <= 1e-5, `${error} from PyTorch`);
    await paint(tab);
    const width = await tab.getByTestId("result").evaluate((image) => image.naturalWidth);
    assert.equal(width, manifest.model.sample_size * manifest.model.vae_scale);
    assert.deepEqual(tab.faults, []);
  },

  async "the slider at 0 is the base picture, and the model is not loaded again"() {
    const tab = await visitReady();
    await chooseOnly(tab);
    const styled = await paint(tab);
    const loaded = tab.asked.length;
    // Not those of its threads, which wait for work without hearing anything else.
    const [worker] = tab.workers().filter((one) => /assets\/worker-/.test(one.url()));
    await worker.evaluate(watchStorage);
    await tab.locator(testIds.strength).press("Home");
    const zero = await paint(tab);
    await tab.getByTestId(`style-${style.name}`).click();
    const base = await paint(tab);
    assert.notEqual(styled, zero);
    assert.equal(zero, base);
    const again = tab.asked.slice(loaded).filter((address) => address.includes("/bundle/"));
    assert.deepEqual(again, []);
    const { made, asked } = await tab.evaluate(() => globalThis.workers);
    assert.equal(made, 1);
    assert.equal(asked.filter((type) => type === "load").length, 1);
    assert.equal(asked.filter((type) => type === "denoise").length, 3);
    assert.equal(await worker.evaluate(() => globalThis.filesRead), 0);
  },

  async "without a server's help the picture is the same"() {
    const pixels = (tab) =>
      tab.getByTestId("result").evaluate((image) => {
        const { naturalWidth: width, naturalHeight: height } = image;
        const context = new OffscreenCanvas(width, height).getContext("2d");
        context.drawImage(image, 0, 0);
        return [...context.getImageData(0, 0, width, height).data];
      });
    const helped = await visitReady();
    await paint(helped);
    const alone = await visitReady({}, { mode: "here" });
    await paint(alone);
    const asked = alone.asked.map((address) => new URL(address).pathname);
    assert.deepEqual(
      asked.filter((path) => /^\/(v1\/|readyz)/.test(path)),
      [],
    );
    assert.equal(await alone.getByTestId("mode").getAttribute("data-mode"), "here");
    const [one, other] = [await pixels(helped), await pixels(alone)];
    assert.equal(one.length, other.length);
    const furthest = one.reduce(
      (most, value, at) => Math.max(most, Math.abs(value - other[at])),
      0,
    );
    assert.ok(furthest <= 1, `${furthest} of 255 apart`); // both round to a byte
  },

  async "the same settings give the same picture"() {
    const tab = await visitReady();
    await tab.getByTestId("seed").fill("7");
    const once = await paint(tab);
    await tab.getByTestId("seed").fill("8");
    assert.notEqual(await paint(tab), once);
    await tab.getByTestId("seed").fill("7");
    assert.equal(await paint(tab), once);
  },

  async "a link brings the same picture to another visitor"() {
    const tab = await visitReady();
    await chooseOnly(tab);
    await tab.locator(testIds.strength).press("ArrowLeft");
    await tab.getByTestId("seed").fill("11");
    await tab.getByTestId("steps").fill("5");
    const once = await paint(tab);
    await tab.waitForFunction(() => location.hash.includes("seed=11&steps=5"));
    const { search, hash } = new URL(tab.url());
    assert.equal(search, "?provider=wasm&mode=server");
    const other = await visitReady({}, { hash });
    assert.equal(await paint(other), once);
  },

  async "compare shows the picture at strength 0 while it is held"() {
    const tab = await visitReady();
    await chooseOnly(tab);
    await tab.getByTestId("steps").fill("4");
    await paint(tab);
    await tab.getByTestId("compare").hover();
    await tab.mouse.down();
    await tab.getByTestId("base").waitFor();
    const base = await pixelsOf(tab, "base");
    await tab.waitForTimeout(400); // shorter is a click, which leaves the base there
    await tab.mouse.up();
    await tab.getByTestId("base").waitFor({ state: "detached" });
    await tab.locator(testIds.strength).press("Home");
    assert.equal(await paint(tab), base);
  },

  async "a merged style is painted without a slider"() {
    const merged = styles.find(({ kind }) => kind === "merged");
    if (!merged) return "no merged style in this bundle";
    const tab = await visitReady();
    await tab.getByTestId(`style-${merged.name}`).click();
    assert.equal(await tab.getByTestId(`strength-${merged.name}`).count(), 0);
    await paint(tab);
  },

  async "cancel ends the picture within a step, and the next one is painted"() {
    const tab = await visitReady();
    await tab.getByTestId("steps").fill("50");
    await tab.getByTestId("generate").click();
    await tab.getByTestId("preview").waitFor();
    await tab.getByTestId("cancel").click();
    await tab.getByTestId("cancel").waitFor({ state: "detached", timeout: 5000 });
    assert.equal(await tab.getByTestId("result").count(), 0);
    await tab.getByTestId("steps").fill("4");
    await paint(tab);
  },

  async "live: the slider's last place wins"() {
    const tab = await visitReady();
    await chooseOnly(tab);
    await tab.getByTestId("live").click();
    const slider = tab.locator(testIds.strength);
    for (let move = 0; move < 5; move += 1) {
      await slider.press("ArrowLeft");
      await tab.waitForTimeout(200); // longer than a hand rests: each move begins a picture
    }
    const last = await slider.getAttribute("aria-valuetext");
    await tab.locator(".facts").getByText(`${style.title} ${last}`).waitFor();
  },

  async "a server that is down is named; Retry paints"() {
    const tab = await visitReady();
    await tab.route("**/v1/**", (route) => route.abort("connectionrefused"));
    await tab.getByTestId("generate").click();
    assert.match(await problem(tab, "server-down"), /v1\/encode/);
    await tab.unroute("**/v1/**");
    await tab.getByTestId("retry").click();
    await tab.getByTestId("result").waitFor();
  },

  async "a server that is not ready yet is waited for"() {
    let asked = 0;
    const opening = async (route) => {
      asked += 1;
      if (asked > 2) return route.continue();
      await route.fulfill({
        status: 503,
        headers: { "Retry-After": "1" },
        contentType: "application/problem+json",
        body: JSON.stringify({ detail: "the bundle is being verified and opened" }),
      });
    };
    const tab = await visit({ "**/readyz": opening });
    await tab.getByText("The server is getting ready").waitFor();
    assert.equal(await tab.getByTestId("error").count(), 0);
    await tab.locator(testIds.ready).waitFor();
    assert.equal(asked, 3);
  },

  async "a server that is down at page load is named; Retry opens"() {
    const silent = (route) => route.abort("connectionrefused");
    const tab = await visit({ "**/manifest.json": silent, "**/readyz": silent });
    assert.match(await problem(tab, "server-down"), /manifest\.json/);
    await tab.unroute("**/manifest.json");
    await tab.getByTestId("retry").click();
    assert.match(await problem(tab, "server-down"), /readyz/);
    await tab.unroute("**/readyz");
    await tab.getByTestId("retry").click();
    await tab.locator(testIds.ready).waitFor();
    assert.deepEqual(tab.faults, []);
  },

  async "a style of another base is refused with both names"() {
    const other = async (route) => {
      const response = await route.fetch();
      await route.fulfill({ json: { ...(await response.json()), base_hash: "f".repeat(64) } });
    };
    const tab = await visitReady({ "**/manifest.json": other });
    await chooseOnly(tab);
    await tab.getByTestId("generate").click();
    const text = await problem(tab, "wrong-base");
    assert.match(text, new RegExp(style.name));
    assert.match(text, /ffff/);
  },

  async "everything can be done from the keyboard"() {
    const tab = await visitReady();
    await chooseOnly(tab);
    const focus = async (id) => {
      for (let press = 0; press < 60; press += 1) {
        await tab.keyboard.press("Tab");
        if ((await tab.evaluate(() => document.activeElement?.dataset.testid)) === id) return;
      }
      assert.fail(`Tab does not reach ${id}`);
    };
    await tab.getByTestId("language").focus();
    await focus("prompt");
    await focus(`strength-${style.name}`);
    await tab.keyboard.press("ArrowRight");
    await focus("seed");
    await focus("generate");
    await tab.keyboard.press("Control+Enter");
    await tab.getByTestId("result").waitFor();
    await focus("download");
  },

  async "the chosen language is remembered"() {
    const tab = await visitReady();
    await tab.getByTestId("language").click();
    await tab.reload();
    await tab.getByText("描述画面").waitFor();
    assert.equal(await tab.evaluate(() => document.documentElement.lang), "zh-CN");
  },

  async "a Chinese visitor is spoken to in Chinese"() {
    const tab = await visitReady({}, { locale: "zh-CN" });
    assert.equal(await tab.getByTestId("generate").textContent(), "生成");
  },
};

let broken = 0;
for (const [name, keep] of Object.entries(promises)) {
  if (process.env.ONLY && !name.includes(process.env.ONLY)) continue;
  const begun = performance.now();
  try {
    const skipped = await keep();
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    console.log(skipped ? `skipped  ${name}: ${skipped}` : `kept     ${name} (${seconds} s)`);
  } catch (error) {
    broken += 1;
    console.log(
      `BROKEN   ${name}\n         ${String(error.message).split("\n").slice(0, 8).join("\n         ")}`,
    );
  }
  for (const context of browser.contexts()) await context.close();
}
await browser.close();
process.exitCode = broken ? 1 : 0;
