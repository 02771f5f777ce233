/**
 * The page on the embedded model, as an artist opens it: who computes is the page's own choice.
 *
 *   node tests/page/embedded.mjs URL FOLDER    URL of a running `python -m server` with `miyazaki`
 *
 * Downloads the pictures into FOLDER, for who can judge them: styled.png (miyazaki at 0.8), zero.png
 * (at 0), base.png (without it). Prints a line for each promise and ends with 1 when one is broken.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { paint, visitors } from "./visitor.mjs";

const [url, folder] = process.argv.slice(2);
const { visit, runs } = await visitors(url);

await runs({
  async "the embedded model paints with miyazaki, at strength 0, and without it"() {
    const tab = await visit({ provider: "" });
    const card = tab.getByTestId("style-miyazaki");
    const slider = tab.getByTestId("strength-miyazaki");
    const save = async (name) => {
      await paint(tab);
      const [download] = await Promise.all([
        tab.waitForEvent("download"),
        tab.getByTestId("download").click(),
      ]);
      await download.saveAs(join(folder, name));
    };

    await tab.getByTestId("prompt").fill("a castle, clouds, green hills, day");
    await tab.getByTestId("seed").fill("1");
    if ((await card.getAttribute("aria-pressed")) !== "true") await card.click();
    assert.equal(await slider.getAttribute("aria-valuetext"), "0.8");
    await save("styled.png");
    await slider.press("Home");
    await save("zero.png");
    await card.click();
    assert.equal(await slider.count(), 0);
    await save("base.png");
    assert.deepEqual(tab.faults, []);
  },
});
