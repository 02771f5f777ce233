/** A visitor of the page in a real Chromium, for the scripts that hold the page to its promises. */

import assert from "node:assert/strict";
import { launchChromium } from "../browser/chromium.mjs";

export const ready = "[data-testid=generate]:enabled";

/**
 * @param {string} url of a running server
 * @returns `visit`: a new visitor's tab, once it can paint; `runs`: keeps promises, one after another
 */
export async function visitors(url) {
  const browser = await launchChromium();

  /** A tab of a new visitor, or of `context`'s; without a `provider` the page chooses it. */
  async function visit({
    context,
    provider = "provider=wasm&",
    mode = "here",
    query = "",
    hash = "",
    ...options
  } = {}) {
    const own = context ?? (await browser.newContext({ locale: "en-US", ...options }));
    const tab = await own.newPage();
    tab.setDefaultTimeout(120_000);
    tab.faults = [];
    tab.on("pageerror", (error) => tab.faults.push(String(error)));
    await tab.goto(new URL(`?${provider}mode=${mode}${query}${hash}`, url).href);
    await tab.locator(ready).waitFor();
    return tab;
  }

  /** Prints a line for each promise; ends with 1 when one is broken. ONLY picks some by name. */
  async function runs(promises) {
    for (const [name, keep] of Object.entries(promises)) {
      if (process.env.ONLY && !name.includes(process.env.ONLY)) continue;
      const begun = performance.now();
      try {
        await keep();
        console.log(`kept     ${name} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
      } catch (error) {
        process.exitCode = 1;
        const lines = String(error.message).split("\n").slice(0, 12);
        console.log(`BROKEN   ${name}\n         ${lines.join("\n         ")}`);
      }
      for (const context of browser.contexts()) await context.close();
    }
    await browser.close();
  }

  return { visit, runs };
}

/** Paints, and waits for the picture; those of earlier visits have negative numbers. */
export async function paint(tab) {
  const result = tab.getByTestId("result");
  const before = (await result.count()) ? await result.getAttribute("data-number") : "0";
  await tab.getByTestId("generate").click();
  const fresh = `:not([data-number="${before}"]):not([data-number^="-"])`;
  await tab.locator(`[data-testid=result]${fresh}`).waitFor();
}

/** The text of the problem that is shown, which is of this code. */
export async function problem(tab, code) {
  const notice = tab.getByTestId("error");
  await notice.waitFor();
  assert.equal(await notice.getAttribute("data-code"), code);
  return notice.textContent();
}

/** Asks the page until it says yes; `waitForFunction` takes any promise for a yes. */
export async function until(tab, asked) {
  while (!(await tab.evaluate(asked))) await tab.waitForTimeout(200);
}

/** The SHA-256 of the pixels of the picture that a test id names. */
export function pixelsOf(tab, id = "result") {
  return tab.getByTestId(id).evaluate(async (image) => {
    await image.decode();
    const { naturalWidth: width, naturalHeight: height } = image;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const digest = await crypto.subtle.digest("SHA-256", data);
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join(
      "",
    );
  });
}

/** Drops a file on the page, as a hand does. */
export async function drop(tab, bytes, name, type = "image/png") {
  await tab.evaluate(
    ({ bytes, name, type }) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([Uint8Array.from(bytes)], name, { type }));
      for (const kind of ["dragenter", "dragover", "drop"]) {
        document.body.dispatchEvent(
          new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }),
        );
      }
    },
    { bytes: [...bytes], name, type },
  );
}
