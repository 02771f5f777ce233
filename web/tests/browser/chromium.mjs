/** Finds a Chromium for the tests and starts it. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/** The path of a Chromium or Chrome: CHROMIUM=, an installed one, or Playwright's own. */
export function findChromium() {
  const wanted = process.env.CHROMIUM;
  for (const name of wanted ? [wanted] : names) {
    try {
      return execFileSync("sh", ["-c", 'command -v "$1"', "sh", name], { encoding: "utf8" }).trim();
    } catch {
      // not there: the next name
    }
  }
  if (wanted) throw new Error(`CHROMIUM=${wanted} is no program; unset it or name a Chromium`);
  const own = chromium.executablePath();
  if (existsSync(own)) return own;
  throw new Error(
    "No Chromium was found. Install one (Debian: apt-get install chromium), or run " +
      "`npx playwright-core install chromium` in web/, or set CHROMIUM=/path/to/chrome",
  );
}

/** Nothing that a test did not ask for goes over the network. */
const quiet = [
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** WebGPU on SwiftShader: slow, but there on every machine. */
const softwareWebGpu = [
  "--enable-unsafe-webgpu",
  "--enable-features=Vulkan,WebGPUService",
  "--use-webgpu-adapter=swiftshader",
  "--use-vulkan=swiftshader",
  "--ignore-gpu-blocklist",
];

/**
 * @param {{ webgpu?: boolean, args?: string[] }} options webgpu: offer WebGPU, computed in software;
 *   args: further switches
 */
export function launchChromium({ webgpu = false, args = [] } = {}) {
  return chromium.launch({
    executablePath: findChromium(),
    args: [...switches(), ...(webgpu ? softwareWebGpu : []), ...args],
  });
}

/**
 * A visitor who comes again: what the browser keeps, compiled code too, lies on disk until the context
 * is closed. The contexts of `launchChromium` are private windows, which keep less, and in memory.
 */
export function launchProfile(options = {}) {
  const own = { executablePath: findChromium(), args: switches() };
  return chromium.launchPersistentContext("", { ...own, ...options });
}

function switches() {
  // As root Chromium's sandbox does not start.
  return [...quiet, ...(process.getuid?.() === 0 ? ["--no-sandbox"] : [])];
}
