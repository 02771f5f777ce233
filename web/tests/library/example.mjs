/**
 * The example of the docs, as whoever copies it has it: real Chromium, real bundle.
 *
 *   node tests/library/example.mjs URL     URL of a brushlet server whose page is docs/example.html
 */

import assert from "node:assert/strict";
import { launchChromium } from "../browser/chromium.mjs";

const url = process.argv[2];
if (!url) throw new Error("Name the server: node tests/library/example.mjs http://127.0.0.1:8000/");
const browser = await launchChromium();
try {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(120_000);
  tab.on("pageerror", (error) => assert.fail(error));
  await tab.goto(url);

  /** The report, and the picture's pixels, once a picture other than `before` is there. */
  const painted = async (before) => {
    await tab.waitForFunction((before) => {
      const { src } = document.querySelector("#picture");
      const said = document.querySelector("#status").textContent;
      if (said && !/^(painted|step|\d)/.test(said)) throw new Error(said);
      return src && src !== before && said.startsWith("painted");
    }, before);
    const picture = tab.locator("#picture");
    const pixels = await picture.evaluate(async (image) => {
      await image.decode();
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
    });
    const said = await tab.locator("#status").textContent();
    return { src: await picture.getAttribute("src"), pixels, report: JSON.parse(said.slice(9)) };
  };

  const { src, pixels, report } = await painted(null);
  const manifest = await (await fetch(new URL("bundle/manifest.json", url))).json();
  const side = manifest.model.sample_size * manifest.model.vae_scale;
  assert.equal(pixels.length, side * side * 4);
  assert.equal(report.baseHash, manifest.base_hash);
  assert.equal(report.provider.provider, "wasm");
  assert.ok(report.provider.error <= report.provider.tolerance);
  assert.equal(report.isolated, true);

  await tab.locator("#strength").fill("0");
  const base = await painted(src);
  assert.notDeepEqual(base.pixels, pixels);
  await tab.locator("#strength").fill("0.8");
  assert.deepEqual((await painted(base.src)).pixels, pixels);

  assert.ok(tab.workers().length > 0);
  await tab.locator("#close").click();
  await tab.getByText("cancelled: ").waitFor();
  // The browser takes its time to end threads on a busy machine; end they must.
  const end = performance.now() + 60_000;
  while (tab.workers().length > 0 && performance.now() < end) await tab.waitForTimeout(100);
  assert.equal(tab.workers().length, 0);
  console.log("kept");
} finally {
  await browser.close();
}
