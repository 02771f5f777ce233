/**
 * The page's states under axe's rules of WCAG 2.2 A and AA, in a real Chromium:
 *
 *   node tests/page/axe.mjs URL     URL of a running `python -m server` with an external style
 */

import assert from "node:assert/strict";
import AxeBuilder from "@axe-core/playwright";
import { paint, visitors } from "./visitor.mjs";

const { visit, runs } = await visitors(process.argv[2]);
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

async function isClean(tab, state) {
  // What moves is between two colours, and neither is what is read.
  await tab.waitForFunction(() =>
    document.getAnimations().every(({ playState }) => playState !== "running"),
  );
  const { violations } = await new AxeBuilder({ page: tab }).withTags(tags).analyze();
  const told = violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${help}\n${target}\n${failureSummary}`),
  );
  assert.deepEqual(told, [], state);
}

/** Every state that a visitor comes to. */
async function through(tab) {
  await isClean(tab, "fresh");
  await tab.getByTestId("steps").fill("2");
  await tab.getByTestId("count").selectOption("2");
  await paint(tab);
  await tab.getByTestId("cancel").waitFor({ state: "detached" });
  await tab.getByTestId("more").click();
  await tab.getByTestId("provider").click();
  await isClean(tab, "painted");
  for (const [opener, dialog, steps = []] of [
    ["save-recipe", "recipe-dialog"],
    ["gallery", "gallery-dialog", ["gallery-clear"]],
    ["grid", "grid-dialog", ["grid-start"]],
    ["device", "device-dialog", ["measure", "tab-storage"]],
  ]) {
    await tab.getByTestId(opener).focus();
    await tab.keyboard.press("Enter");
    await tab.getByTestId(dialog).waitFor();
    await isClean(tab, dialog);
    for (const step of steps) {
      await tab.getByTestId(step).click();
      if (step === "grid-start") await tab.locator("[data-testid=grid-save]:enabled").waitFor();
      if (step === "measure") await tab.getByTestId("device-report").waitFor();
      if (step === "tab-storage") await tab.getByTestId("storage-panel").waitFor();
      await isClean(tab, `${dialog}, ${step}`);
      if (step === "gallery-clear") await tab.keyboard.press("Escape");
    }
    await tab.keyboard.press("Escape");
    await tab.getByTestId(dialog).waitFor({ state: "detached" });
    // Where it was opened from: the dialog gives the focus back a moment after it has gone.
    await tab.locator(`[data-testid=${opener}]:focus`).waitFor({ timeout: 5_000 });
  }
  assert.deepEqual(tab.faults, []);
}

await runs({
  async "WCAG AA: English, light"() {
    await through(await visit({ colorScheme: "light", reducedMotion: "reduce" }));
  },

  async "WCAG AA: Chinese, dark, on a phone"() {
    const viewport = { width: 360, height: 740 };
    const options = { locale: "zh-CN", colorScheme: "dark", reducedMotion: "reduce", viewport };
    await through(await visit(options));
  },

  async "nothing is wider than the window, from 360 px on"() {
    for (const width of [360, 390, 768, 1280, 1920]) {
      for (const locale of ["en-US", "zh-CN"]) {
        const tab = await visit({ locale, viewport: { width, height: 800 } });
        await tab.getByTestId("more").click();
        const wide = await tab.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= width, `${wide} px at ${width} px, ${locale}`);
        await tab.context().close();
      }
    }
  },

  async "forced colours leave every control an edge"() {
    const tab = await visit({ forcedColors: "active" });
    const bare = await tab
      .locator("button:visible, select:visible, textarea:visible")
      .evaluateAll((controls) =>
        controls
          .filter((control) => {
            const { borderTopStyle, textDecorationLine } = getComputedStyle(control);
            return borderTopStyle === "none" && textDecorationLine === "none";
          })
          .map((control) => control.outerHTML.slice(0, 120)),
      );
    assert.deepEqual(bare, []);
  },
});
