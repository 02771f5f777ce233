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
import { addressBar } from "../../../src/page/address";
import { Trouble } from "../../../src/page/problem";
import type { Services } from "../../../src/page/services";
import { startTheme } from "../../../src/page/theme";
import type { WorkerClient } from "../../../src/worker/client";
import { fakeManifest, file, mergedStyle, style } from "../../manifest";
import { scenePng, scenePreview } from "./scene";
import { fakeServices, report, storage } from "./services";
import "../../../src/page/styles/index.css";

const query = new URLSearchParams(location.search);
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const problem = query.get("problem");
const templates: Record<string, [string, string]> = {
  miyazaki: ["windmill meadow", "花田风车"],
  gothic: ["castle", "古堡"],
  cyberpunk: ["night harbour", "夜港"],
};
/** The pictures are those of models/loras, which the screenshots serve. */
const styles = Object.entries(templates).map(([name, [title, zh]]) =>
  style(name, {
    thumbnail: file(`styles/${name}.png`),
    examples: [1, 2, 3].map((number) => file(`styles/${name}.example-${number}.webp`)),
    templates: [{ title, titles: { zh }, prompt: `{trigger}, ${title}, clouds, day` }],
    license: "Apache-2.0",
  }),
);
if (query.has("merged")) {
  styles.push(mergedStyle("ukiyo", 0.9));
}

const megabytes = 1e6;
let painting = "base";

const worker: WorkerClient = {
  async load(_request, { onProgress } = {}) {
    const progress = {
      stage: "shards" as const,
      file: "weights-0.bin",
      totalBytes: 24.6 * megabytes,
      storedBytes: 0,
      bytesPerSecond: 4.1 * megabytes,
    };
    for (let part = 0; part <= 40; part += 1) {
      const loadedBytes = (part / 40) * progress.totalBytes;
      const secondsLeft = (progress.totalBytes - loadedBytes) / progress.bytesPerSecond;
      onProgress?.({ ...progress, loadedBytes, secondsLeft });
      if (part === 20 && problem === "damaged") {
        const message = "weights-3f9a.bin should hash to 3f9a12…, its bytes hash to 81c0de….";
        return { ok: false, problem: { code: "damaged", message, where: "weights-3f9a.bin" } };
      }
      if (part === 20 && query.get("load") === "half") await wait(1e8);
      await wait(25);
    }
    return { ok: true, value: { report, storage } };
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
    return { ok: true, value: { latents, milliseconds: 2380, provider: report } };
  },
  prefetchStyle: async () => ({ ok: true, value: null }),
  async call(type, request) {
    if (type === "contributions") {
      const chosen = request as { name: string; strength: number }[];
      const all = chosen.reduce((sum, { strength }) => sum + Math.abs(strength), 0);
      const shares = chosen.map(({ name, strength }) => ({
        name,
        share: Math.abs(strength) / all,
      }));
      return { ok: true, value: shares as never };
    }
    if (type === "add-style") {
      const local = { ...style("watercolour"), kept: "device", notes: [] };
      return { ok: true, value: local as never };
    }
    if (type === "local-styles") return { ok: true, value: [] as never };
    if (type === "remove-style") return { ok: true, value: null as never };
    return {
      ok: false,
      problem: { code: "internal", message: "This worker is in words only." },
    };
  },
  terminate() {},
};

const manifest = fakeManifest(styles);
manifest.hints.templates = [
  { title: "landscape", titles: { zh: "山野" }, prompt: "{trigger}, sun, mountains, day" },
  { title: "by the sea", titles: { zh: "海边" }, prompt: "{trigger}, a lighthouse, sea, sunset" },
  {
    title: "winter night",
    titles: { zh: "冬夜" },
    prompt: "{trigger}, a house, moon, snow, night",
  },
];
const fake = fakeServices(manifest);
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

startTheme();
await startI18n();
createRoot(document.getElementById("root") as HTMLElement).render(
  <App services={services} address={addressBar} />,
);
