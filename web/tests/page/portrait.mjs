/**
 * Takes the README's picture of the page, on the real model:
 *
 *   node tests/page/portrait.mjs URL ../docs/page.png
 *
 * URL: a running `python -m server` with the embedded styles.
 */

import { paint, visitors } from "./visitor.mjs";

const [url, out] = process.argv.slice(2);
const { visit } = await visitors(url);
const tab = await visit({
  viewport: { width: 1280, height: 930 },
  deviceScaleFactor: 1.5,
  colorScheme: "light",
});

/** A few pictures behind the one on the wall, as after some minutes of painting. */
const earlier = [
  ["gothic", "a castle, moon, stars, mountains, night", 11],
  ["cyberpunk", "a lighthouse, moon, sea, night", 3],
  ["miyazaki", "a sailboat, sun, clouds, sea, sunset", 5],
  ["miyazaki", "a castle, clouds, green hills, day", 12],
];
for (const [style, prompt, seed] of earlier) {
  for (const card of await tab.locator("[data-testid^=style-][aria-pressed=true]").all()) {
    await card.click();
  }
  await tab.getByTestId(`style-${style}`).click();
  await tab.getByTestId("prompt").fill(prompt);
  await tab.getByTestId("seed").fill(String(seed));
  await paint(tab);
}
await tab.mouse.move(0, 0);
await tab.evaluate(() => {
  document.activeElement?.blur();
  scrollTo(0, 0);
});
await tab.waitForTimeout(1000);
await tab.screenshot({ path: out });
await tab.context().browser().close();
