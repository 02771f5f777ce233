/**
 * The page on a painted-on engine, for screenshots and for working on its looks:
 * `node tests/page/screenshot.mjs --serve`. Never part of a build.
 *
 * `?load=half` stays at half the download; `?hold=12` stops at step 12;
 * `?problem=damaged` fails to open, `?problem=server-down` fails to paint.
 */

import { createRoot } from "react-dom/client";
import { startI18n } from "../../../src/i18n";
import { App } from "../../../src/page/App";
import { Trouble } from "../../../src/page/problem";
import type { Services } from "../../../src/page/services";
import type { WorkerClient } from "../../../src/worker/client";
import { fakeManifest, style } from "./manifest";
import { scenePng, scenePreview } from "./scene";
import { fakeServices, report } from "./services";
import "../../../src/page/styles/index.css";

const query = new URLSearchParams(location.search);
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const problem = query.get("problem");
const styles = ["miyazaki", "gothic", "cyberpunk"].map((name) => style(name));
if (query.has("merged")) {
  styles.push(style("ukiyo", { title: "Ukiyo-e", kind: "merged", merged_strength: 0.9 }));
}

const megabytes = 1e6;
let painting = "base";

const worker: WorkerClient = {
  async load(_request, { onProgress } = {}) {
    const progress = {
      stage: "shards" as const,
      file: "weights-0.bin",
      totalBytes: 24.6 * megabytes,
    };
    for (let part = 0; part <= 40; part += 1) {
      onProgress?.({ ...progress, loadedBytes: (part / 40) * progress.totalBytes });
      if (part === 20 && problem === "damaged") {
        const message = "weights-3f9a.bin should hash to 3f9a12…, its bytes hash to 81c0de….";
        return { ok: false, problem: { code: "damaged", message, where: "weights-3f9a.bin" } };
      }
      if (part === 20 && query.get("load") === "half") await wait(1e8);
      await wait(25);
    }
    return { ok: true, value: report };
  },
  async denoise({ styles: chosen, steps, seed }, { onStep, signal } = {}) {
    painting = chosen.find(({ strength }) => strength > 0)?.name ?? "base";
    for (let step = 1; step <= steps; step += 1) {
      await wait(60);
      if (signal?.aborted) {
        return { ok: false, problem: { code: "cancelled", message: "Cancelled." } };
      }
      const preview = scenePreview(painting, step / steps);
      onStep?.({ step, steps, milliseconds: 120, preview });
      if (step === Number(query.get("hold")) && seed === 1) await wait(1e8);
    }
    const latents = { data: new Float32Array(1024), shape: [1, 4, 16, 16] };
    return { ok: true, value: { latents, milliseconds: 2380 } };
  },
  prefetchStyle: async () => ({ ok: true, value: null }),
  terminate() {},
};

const fake = fakeServices(fakeManifest(styles));
const services: Services = {
  ...fake,
  server: {
    ...fake.server,
    async encode(words) {
      if (problem === "server-down") {
        const where = "http://127.0.0.1:8000/v1/encode";
        throw new Trouble({ code: "server-down", message: "", where });
      }
      await wait(120);
      return fake.server.encode(words, new AbortController().signal);
    },
    decode: () => scenePng(painting),
  },
  connect: () => worker,
};

await startI18n();
createRoot(document.getElementById("root") as HTMLElement).render(<App services={services} />);
