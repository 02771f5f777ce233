/**
 * Draws public/icons/ from public/favicon.svg, for those who install the page: `npm run icons`.
 *
 * Maskable ones leave the margin that platforms cut away (https://w3c.github.io/manifest/#icon-masks):
 * what matters lies within the middle 80 %.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { launchChromium } from "../tests/browser/chromium.mjs";

const folder = fileURLToPath(new URL("../public/", import.meta.url));
const svg = readFileSync(`${folder}favicon.svg`, "utf8");
const paper = "#f4f4ef";

/** name -> side in pixels, the drawing's share of it, and what lies behind. */
const icons = {
  "icon-192": { side: 192, share: 0.9, behind: "transparent" },
  "icon-512": { side: 512, share: 0.9, behind: "transparent" },
  "maskable-512": { side: 512, share: 0.6, behind: paper },
  "apple-180": { side: 180, share: 0.7, behind: paper },
};

mkdirSync(`${folder}icons`, { recursive: true });
const browser = await launchChromium();
for (const [name, { side, share, behind }] of Object.entries(icons)) {
  const tab = await browser.newPage({
    viewport: { width: side, height: side },
    colorScheme: "light",
  });
  await tab.setContent(
    `<body style="margin:0;height:100vh;display:grid;place-items:center;background:${behind}">
    <div style="width:${share * 100}%;display:grid">${svg}</div></body>`,
  );
  const png = await tab.screenshot({ omitBackground: behind === "transparent" });
  writeFileSync(`${folder}icons/${name}.png`, png);
  await tab.close();
}
await browser.close();
