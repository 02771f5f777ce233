/**
 * Draws the page for people to look at, on a painted-on engine:
 *
 *   node tests/page/screenshot.mjs [OUT]     all states, widths, languages and colour schemes
 *   node tests/page/screenshot.mjs --serve   serves the same page to a browser instead
 *
 * CHROMIUM names the browser; ONLY picks pictures by parts of their names, for example
 * ONLY=result-1280,390-zh-dark.
 */

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { createServer } from "vite";
import { launchChromium } from "../browser/chromium.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const loras = fileURLToPath(new URL("../../../models/loras/", import.meta.url));
const server = await createServer({
  root,
  configFile: false,
  plugins: [react()],
  cacheDir: "node_modules/.vite-screenshot",
  logLevel: "warn",
  server: { hmr: false, watch: null }, // files saved meanwhile must not reload a page being drawn
});
await server.listen();
const page = `${server.resolvedUrls.local[0]}tests/page/fake/index.html`;

if (process.argv.includes("--serve")) {
  console.log(page);
} else {
  await shoot(process.argv[2] ?? "screenshots");
  await server.close();
}

/** What is done before the picture is taken, by state. */
function states() {
  const generate = (tab) => tab.getByTestId("generate").click();
  const finished = (tab) => tab.getByTestId("download").waitFor();
  return {
    opening: { query: "load=half", act: (tab) => tab.getByText(/12/).first().waitFor() },
    empty: { query: "", act: (tab) => tab.locator("[data-testid=generate]:enabled").waitFor() },
    drawing: {
      query: "hold=9",
      async act(tab) {
        await generate(tab);
        await tab.getByTestId("progress").getByText(/9/).first().waitFor();
      },
    },
    result: {
      query: "merged",
      async act(tab) {
        await tab.getByTestId("style-miyazaki").click();
        await generate(tab);
        await finished(tab);
        await tab.getByTestId("style-miyazaki").click();
        await tab.getByTestId("style-gothic").click();
        await tab.getByTestId("dice").click();
        await generate(tab);
        await tab.getByTestId("progress").waitFor();
        await finished(tab);
        await tab.getByTestId("provider").click();
        await tab.waitForTimeout(600);
      },
    },
    peek: {
      query: "",
      async act(tab) {
        await tab.locator("[data-testid=generate]:enabled").waitFor();
        await tab.getByTestId("negative-prompt").focus();
        for (let press = 0; press < 2; press += 1) await tab.keyboard.press("Tab");
        await tab.getByTestId("peek").waitFor();
        await tab.waitForTimeout(500);
      },
    },
    mix: {
      query: "",
      async act(tab) {
        await tab.locator("[data-testid=generate]:enabled").waitFor();
        await tab.getByTestId("style-gothic").click();
        await tab.getByTestId("example").nth(3).click();
        await tab.getByTestId("add-style-file").setInputFiles({
          name: "watercolour.safetensors",
          mimeType: "application/octet-stream",
          buffer: Buffer.from("fake"),
        });
        await tab.getByTestId("remove-watercolour").waitFor();
        await tab.getByTestId("style-miyazaki").click();
        await tab.getByTestId("style-gothic").click();
        await tab.getByTestId("shares").waitFor();
        await tab.getByTestId("source-file").setInputFiles(`${loras}miyazaki.png`);
        await tab.getByTestId("source-picture").waitFor();
        await tab.getByTestId("more").click();
        await tab.getByTestId("shape-portrait").check({ force: true });
      },
    },
    base: {
      query: "",
      async act(tab) {
        await tab.locator("[data-testid=generate]:enabled").waitFor();
        await generate(tab);
        await finished(tab);
        await tab.getByTestId("compare").click();
        await tab.getByTestId("base").waitFor();
      },
    },
    recipe: {
      query: "",
      async act(tab) {
        await tab.locator("[data-testid=generate]:enabled").waitFor();
        await tab.getByTestId("save-recipe").click();
        await tab.getByTestId("recipe-dialog").waitFor();
      },
    },
    gallery: {
      query: "",
      async act(tab) {
        await tab.locator("[data-testid=generate]:enabled").waitFor();
        for (const style of ["gothic", "cyberpunk", "miyazaki"]) {
          await tab.getByTestId("count").selectOption("3");
          await generate(tab);
          await finished(tab);
          await tab.getByTestId(`style-${style}`).click();
        }
        await tab.getByTestId("gallery").click();
        await tab.getByTestId("gallery-picture").nth(8).waitFor();
        await tab.waitForTimeout(500);
      },
    },
    "grid-plan": {
      query: "",
      async act(tab) {
        await tab.locator("[data-testid=generate]:enabled").waitFor();
        await tab.getByTestId("grid").click();
        await tab.getByTestId("grid-y").selectOption("style");
        await tab.waitForTimeout(300);
      },
    },
    "grid-done": {
      query: "",
      async act(tab) {
        await tab.locator("[data-testid=generate]:enabled").waitFor();
        await tab.getByTestId("steps").fill("2");
        await tab.getByTestId("grid").click();
        await tab.getByTestId("grid-y").selectOption("style");
        await tab.getByTestId("grid-start").click();
        await tab.locator("[data-testid=grid-save]:enabled").waitFor();
        await tab.waitForTimeout(300);
      },
    },
    device: {
      query: "",
      async act(tab) {
        await tab.locator("[data-testid=generate]:enabled").waitFor();
        await tab.getByTestId("device").click();
        await tab.getByTestId("measure").click();
        await tab.getByTestId("device-report").waitFor();
      },
    },
    storage: {
      query: "",
      async act(tab) {
        await tab.locator("[data-testid=generate]:enabled").waitFor();
        await generate(tab);
        await finished(tab);
        await tab.getByTestId("device").click();
        await tab.getByTestId("tab-storage").click();
        await tab.getByTestId("storage-panel").waitFor();
      },
    },
    damaged: { query: "problem=damaged", act: (tab) => tab.getByTestId("error").waitFor() },
    "server-down": {
      query: "problem=server-down",
      async act(tab) {
        await generate(tab);
        await tab.getByTestId("error").waitFor();
      },
    },
  };
}

async function shoot(out) {
  await mkdir(out, { recursive: true });
  const browser = await launchChromium();
  const only = process.env.ONLY?.split(",");
  for (const [name, { query, act }] of Object.entries(states())) {
    for (const [width, height] of [
      [1920, 1080],
      [1280, 800],
      [768, 1024],
      [390, 844],
      [360, 740],
    ]) {
      for (const locale of ["en", "zh"]) {
        for (const colorScheme of ["light", "dark"]) {
          const file = `${name}-${width}-${locale}-${colorScheme}`;
          if (only && !only.some((part) => file.includes(part))) continue;
          const tab = await browser.newPage({
            viewport: { width, height },
            locale: locale === "zh" ? "zh-CN" : "en-US",
            colorScheme,
          });
          tab.setDefaultTimeout(120_000);
          tab.on("pageerror", (error) => console.error(`${file}: ${error}`));
          await tab.route("http://brushlet.test/bundle/styles/*", (route) =>
            route.fulfill({
              path: `${loras}${route.request().url().split("/").at(-1)}`,
              headers: { "Access-Control-Allow-Origin": "*" },
            }),
          );
          await tab.goto(`${page}?${query}`);
          await act(tab);
          await tab.screenshot({ path: `${out}/${file}.png` });
          if (width < 1000) {
            await tab.evaluate(() => scrollTo(0, innerHeight * 0.75));
            await tab.screenshot({ path: `${out}/${file}-below.png` });
          }
          const overflow = await tab.evaluate(
            () => document.documentElement.scrollWidth > innerWidth,
          );
          if (overflow) console.error(`${file}: wider than the window`);
          await tab.close();
          console.log(file);
        }
      }
    }
  }
  await browser.close();
}
