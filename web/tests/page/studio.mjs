/**
 * What the page keeps and takes back: gallery, pictures with their settings, styles of one's own,
 * recipes, grids, this device.
 *
 *   node tests/page/studio.mjs URL FOLDER
 *
 * URL: a running `python -m server` with two external styles. FOLDER: holds `a1111-*.png`, pictures
 * whose text another program wrote, and `mine.safetensors`, a LoRA that the bundle has not;
 * `ours.png`, `recipe.json` and `grid.png`, which the page wrote, are put there.
 */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { drop, paint, pixelsOf, ready, visitors } from "./visitor.mjs";

const [url, folder] = process.argv.slice(2);
const { visit, runs } = await visitors(url);

async function setUp(tab, { seed = 7, prompt = "a castle, (night:1.2), ünïcode" } = {}) {
  await tab.getByTestId("prompt").fill(prompt);
  await tab.getByTestId("negative-prompt").fill("people");
  await tab.getByTestId("seed").fill(String(seed));
  await tab.getByTestId("steps").fill("3");
}

const saved = async (tab, click, name) => {
  const [download] = await Promise.all([tab.waitForEvent("download"), click()]);
  await download.saveAs(join(folder, name));
  return download.suggestedFilename();
};

const valuesOf = async (tab) => {
  const value = (id) => tab.getByTestId(id).inputValue();
  return [await value("prompt"), await value("negative-prompt"), await value("seed")];
};

/** What each card of a style says of itself. */
const cardsOf = (tab) =>
  tab
    .locator(".card[aria-pressed]")
    .evaluateAll((cards) => cards.map((card) => [card.textContent, card.ariaPressed]));

await runs({
  async "pictures survive a reload, with the settings that made them"() {
    const tab = await visit();
    await setUp(tab);
    await paint(tab);
    const pixels = await pixelsOf(tab);
    await setUp(tab, { seed: 8, prompt: "a lighthouse" });
    await paint(tab);
    await tab.waitForFunction(
      () =>
        new Promise((resolve) => {
          const opening = indexedDB.open("brushlet-gallery");
          opening.onsuccess = () => {
            const all = opening.result.transaction("pictures").objectStore("pictures").count();
            all.onsuccess = () => {
              opening.result.close();
              resolve(all.result === 2);
            };
          };
        }),
    );
    await tab.waitForFunction(() => location.hash.includes("seed=8"));
    await tab.reload();
    await tab.getByTestId("gallery").click();
    await tab.getByTestId("gallery-search").fill("castle 7");
    assert.equal(await tab.getByTestId("gallery-picture").count(), 1);
    await tab.locator(".gallery-thumb img").waitFor();
    await tab.getByTestId("gallery-picture").click();
    await tab.getByRole("img", { name: /castle/ }).waitFor();
    assert.equal(await pixelsOf(tab), pixels);
    await tab.getByRole("button", { name: "Use these settings" }).click();
    assert.deepEqual(await valuesOf(tab), ["a castle, (night:1.2), ünïcode", "people", "7"]);
    await tab.locator(ready).waitFor();
    await paint(tab);
    assert.equal(await pixelsOf(tab), pixels);
    assert.deepEqual(tab.faults, []);
  },

  async "a downloaded picture loads its settings back by drop, and draws the same"() {
    const tab = await visit();
    await setUp(tab, { prompt: "a castle, 城堡, {trigger}" });
    await paint(tab);
    const pixels = await pixelsOf(tab);
    const name = await saved(tab, () => tab.getByTestId("download").click(), "ours.png");
    assert.match(name, /^brushlet-.*-7\.png$/);
    const other = await visit();
    await drop(other, await readFile(join(folder, "ours.png")), name);
    await other.getByTestId("note").getByText(name).waitFor();
    assert.equal(await other.getByTestId("steps").inputValue(), "3");
    await paint(other);
    assert.equal(await pixelsOf(other), pixels);
    assert.deepEqual(other.faults, []);
  },

  async "pictures of other programs bring their settings, and what is missing is told"() {
    for (const form of ["text", "ztxt", "itxt"]) {
      const tab = await visit();
      await drop(tab, await readFile(join(folder, `a1111-${form}.png`)), `a1111-${form}.png`);
      const note = tab.getByTestId("note");
      await note.getByText(`a1111-${form}.png`).waitFor();
      assert.match(await note.textContent(), /nobody.*DPM fast.*another model/s);
      const [prompt, negative, seed] = await valuesOf(tab);
      assert.equal(prompt, form === "itxt" ? "一座城堡" : "a castle");
      assert.equal(negative, "fog, text");
      assert.equal(seed, "4242");
      await tab.context().close();
    }
  },

  async "a picture whose text is damaged is told of, and changes nothing"() {
    const tab = await visit();
    const bytes = await readFile(join(folder, "a1111-text.png"));
    bytes[bytes.indexOf("Steps: 11")] ^= 1;
    await drop(tab, bytes, "damaged.png");
    await tab
      .getByTestId("note")
      .getByText(/CRC is wrong/)
      .waitFor();
    assert.equal(await tab.getByTestId("seed").inputValue(), "1");
  },

  async "a LoRA dropped on the page becomes a style, paints, and survives a reload"() {
    const tab = await visit();
    const sent = [];
    tab.on("request", (request) => request.method() !== "GET" && sent.push(request.url()));
    await setUp(tab);
    await drop(tab, await readFile(join(folder, "mine.safetensors")), "mine.safetensors", "");
    await tab.getByTestId("strength-mine").waitFor();
    await paint(tab);
    const styled = await pixelsOf(tab);
    await tab.getByTestId("style-mine").click();
    await paint(tab);
    assert.notEqual(await pixelsOf(tab), styled);
    await tab.getByTestId("style-mine").click();
    await tab.waitForFunction(() => location.hash.includes("mine:"));
    await tab.reload();
    await tab.getByTestId("strength-mine").waitFor();
    await tab.locator(ready).waitFor();
    await paint(tab);
    assert.equal(await pixelsOf(tab), styled);
    assert.deepEqual(sent, []); // the file has stayed on this device
    assert.deepEqual(tab.faults, []);
  },

  async "a LoRA dropped beside a server is not sent there: this device reads the words"() {
    const tab = await visit({ mode: "server" });
    await setUp(tab);
    await drop(tab, await readFile(join(folder, "mine.safetensors")), "mine.safetensors", "");
    await tab.getByTestId("note").getByText("this device reads the words").waitFor();
    const sent = [];
    tab.on("request", (request) => {
      if (request.method() !== "GET") sent.push(new URL(request.url()).pathname);
    });
    await paint(tab);
    assert.deepEqual(sent, ["/v1/decode"]); // the picture's latents
    assert.deepEqual(tab.faults, []);
  },

  async "a damaged LoRA dropped on the page is told of, and changes nothing"() {
    const tab = await visit();
    const before = await cardsOf(tab);
    assert.notEqual(before.length, 0);
    const whole = await readFile(join(folder, "mine.safetensors"));
    for (const [length, name] of [
      [whole.length - 100, "end.safetensors"],
      [100, "header.safetensors"],
    ]) {
      await drop(tab, whole.subarray(0, length), name, "");
      const notice = tab.getByTestId("error").filter({ hasText: name });
      await notice.waitFor();
      assert.equal(await notice.getAttribute("data-code"), "lora");
      assert.match(await notice.textContent(), /Choose a whole LoRA file.*is cut short within/s);
      assert.deepEqual(await cardsOf(tab), before);
    }
    assert.deepEqual(tab.faults, []);
  },

  async "a recipe saved on one visit loads on another"() {
    const strengths = { wiggle: "0.35", wobble: "1.15" };
    const tab = await visit();
    for (const [style, strength] of Object.entries(strengths)) {
      const card = tab.getByTestId(`style-${style}`);
      if ((await card.getAttribute("aria-pressed")) === "false") await card.click();
      await tab.getByTestId(`strength-value-${style}`).fill(strength);
    }
    await tab.getByTestId("save-recipe").click();
    await tab.getByTestId("recipe-name").fill("Dusk & 城堡");
    const download = () => tab.getByTestId("recipe-download").click();
    assert.equal(await saved(tab, download, "recipe.json"), "Dusk-城堡.json");
    const cards = await cardsOf(tab);
    const other = await visit();
    assert.notDeepEqual(await cardsOf(other), cards);
    await other.getByTestId("open-recipe-file").setInputFiles(join(folder, "recipe.json"));
    await other.getByTestId("note").getByText("Dusk & 城堡").waitFor();
    assert.deepEqual(await cardsOf(other), cards);
    for (const [style, strength] of Object.entries(strengths)) {
      const slider = other.getByTestId(`strength-value-${style}`);
      assert.equal(await slider.inputValue(), strength);
    }
    assert.deepEqual(other.faults, []);
  },

  async "a grid is painted, saved as one picture, and its cells are pictures"() {
    const tab = await visit();
    await setUp(tab);
    await tab.getByTestId("steps").fill("2");
    await tab.getByTestId("grid").click();
    await tab.getByTestId("grid-x").selectOption("strength");
    await tab.getByTestId("grid-x-count").selectOption("2");
    await tab.getByTestId("grid-y").selectOption("seed");
    await tab.getByTestId("grid-y-count").selectOption("2");
    await tab.getByTestId("grid-start").click();
    await tab.locator("[data-testid=grid-save]:enabled").waitFor();
    assert.equal(await tab.getByTestId("grid-cell").count(), 4);
    await saved(tab, () => tab.getByTestId("grid-save").click(), "grid.png");
    await tab.getByTestId("grid-cell").nth(3).click();
    await tab.getByTestId("grid-dialog").waitFor({ state: "detached" });
    await tab.locator(".facts").getByText("seed 8").waitFor();
    const cell = await pixelsOf(tab);
    await tab.getByRole("button", { name: "Use these settings" }).click();
    await paint(tab);
    assert.equal(await pixelsOf(tab), cell);
  },

  async "a grid is cancelled within a step"() {
    const tab = await visit();
    await tab.getByTestId("steps").fill("50");
    await tab.getByTestId("grid").click();
    await tab.getByTestId("grid-start").click();
    await tab.waitForTimeout(300);
    await tab.getByTestId("grid-cancel").click();
    await tab.getByTestId("grid-new").waitFor({ timeout: 5000 });
    assert.ok((await tab.getByTestId("grid-cell").count()) < 4);
  },

  async "this device is measured, and what it keeps is listed and removed"() {
    const tab = await visit();
    await tab.getByTestId("device").click();
    await tab.getByTestId("measure").click();
    const report = tab.getByTestId("device-report");
    await report.waitFor();
    assert.match(await report.textContent(), /ms a step.*from PyTorch.*onnxruntime-web/s);
    await tab.getByTestId("tab-storage").click();
    await tab.getByTestId("remove-bundle").click();
    await tab.getByTestId("remove-bundle-yes").click();
    await tab.getByTestId("remove-bundle").waitFor({ state: "detached" });
    assert.equal(await tab.getByTestId("error").count(), 0);
    await tab.keyboard.press("Escape");
    assert.equal(await tab.evaluate(() => document.activeElement.dataset.testid), "device");
    await paint(tab); // what is open goes on
    assert.deepEqual(tab.faults, []);
  },
});
