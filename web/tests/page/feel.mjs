/**
 * How soon the page answers, in a real Chromium on a running server:
 *
 *   node tests/page/feel.mjs URL     prints one JSON of milliseconds
 *
 * `revisit`: from opening the page again to the begin of the first step, the middle of `revisits`; and
 * `revisitBytes` of the bundle over the network meanwhile. `slider`, `style`: from the key press to the
 * begin of the next picture's first step, in live mode, while none is painted; `sliderBusy`: while one is.
 */

import { launchProfile } from "../browser/chromium.mjs";
import { paint, ready } from "./visitor.mjs";

const rounds = 5;
const address = new URL("?provider=wasm&mode=here", process.argv[2]).href;

/** Notes when the worker is asked, and when the first step of what it was asked began. */
function listen() {
  globalThis.begun = [];
  const { postMessage } = Worker.prototype;
  Worker.prototype.postMessage = function post(message, ...rest) {
    if (message?.type === "denoise") {
      this.addEventListener("message", ({ data }) => {
        if (data.type !== "step" || data.id !== message.id || data.step.step !== 1) return;
        globalThis.begun.push(performance.now() - data.step.milliseconds);
      });
    }
    return postMessage.call(this, message, ...rest);
  };
}

/** Asks for a picture as soon as the page lets it. */
function hurry() {
  const look = (_, observer) => {
    const button = document.querySelector("[data-testid=generate]:enabled");
    if (!button) return;
    observer.disconnect();
    globalThis.opened = performance.now();
    button.click();
  };
  const all = { subtree: true, childList: true, attributes: true };
  new MutationObserver(look).observe(document, all);
}

/** Does something on the page, and tells how long after it the next first step began. */
async function answer(tab, press) {
  const before = await tab.evaluate(() => globalThis.begun.length);
  await tab.evaluate(() => {
    addEventListener("keydown", () => (globalThis.pressed = performance.now()), {
      once: true,
      capture: true,
    });
  });
  await press();
  await tab.waitForFunction((before) => globalThis.begun.length > before, before);
  return tab.evaluate(() => globalThis.begun.at(-1) - globalThis.pressed);
}

const idle = (tab) => tab.getByTestId("cancel").waitFor({ state: "detached" });
const middle = (times) => times.toSorted((one, other) => one - other)[times.length >> 1];

async function measure(tab, press, { busy = false } = {}) {
  const times = [];
  for (let round = 0; round < rounds; round += 1) {
    if (busy) {
      await tab.getByTestId("generate").click();
      await tab.getByTestId("preview").waitFor();
    }
    times.push(await answer(tab, () => press(round)));
    await idle(tab);
    if (busy) await tab.getByTestId("dice").click();
  }
  return middle(times);
}

/** Opens the page again and paints at once. */
async function comeAgain() {
  const tab = await context.newPage();
  await tab.addInitScript(listen);
  await tab.addInitScript(hurry);
  let bytes = 0;
  const count = (response) => {
    if (response.fromServiceWorker() || !response.url().includes("/bundle/")) return;
    bytes += Number(response.headers()["content-length"] ?? 0);
  };
  tab.on("response", count);
  await tab.goto(address);
  await tab.waitForFunction(() => globalThis.begun.length > 0);
  tab.off("response", count);
  // Both since the navigation began.
  const [opened, begun] = await tab.evaluate(() => [globalThis.opened, globalThis.begun[0]]);
  await idle(tab);
  return { tab, opened, begun, bytes };
}

const context = await launchProfile({ locale: "en-US" });
context.setDefaultTimeout(120_000);
const first = await context.newPage();
await first.goto(address);
await first.locator(ready).waitFor();
await first.evaluate(() => navigator.serviceWorker.ready);
await paint(first);
await first.waitForTimeout(3000); // what the service worker and the gallery still write
await first.close();

const visits = [];
for (let round = 0; round < 3; round += 1) {
  await visits.at(-1)?.tab.close();
  visits.push(await comeAgain());
}
const again = visits.at(-1).tab;

await again.getByTestId("steps").fill("8");
await again.getByTestId("live").click();
const slider = again.locator("[data-testid^=strength-][role=slider]").first();
const slide = (round) => slider.press(round % 2 ? "ArrowRight" : "ArrowLeft");
const cards = again.locator("[data-testid^=style-]");
const change = async () => {
  await cards.nth(1).press("Enter");
};
const figures = {
  opened: middle(visits.map(({ opened }) => opened)),
  revisit: middle(visits.map(({ begun }) => begun)),
  revisits: visits.map(({ begun }) => begun),
  revisitBytes: visits[0].bytes,
  slider: await measure(again, slide),
  sliderBusy: await measure(again, slide, { busy: true }),
  style: (await cards.count()) > 1 ? await measure(again, change) : null,
  threads: await again.getByTestId("provider").textContent(),
};
console.log(JSON.stringify(figures));
await context.close();
