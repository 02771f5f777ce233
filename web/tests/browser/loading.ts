/** The page of loading.mjs: opens bundles as the real page does, and looks at what is stored. */

import { listStorage, removeAll, removeBundle, removeStyle } from "../../src/engine/storage";
import { createWorkerClient, type WorkerClient, type WorkerLike } from "../../src/worker/client";
import type { LoadProgress, LoadResult, Outcome } from "../../src/worker/protocol";

/** What a browser may lack; see without.worker.ts. */
type Lacking = "opfs" | "caches" | "locks" | "room";

let client: WorkerClient | undefined;
const progress: LoadProgress[] = [];
const absolute = (path: string) => new URL(path, location.href).href;

function start(lacking: Lacking[]): WorkerClient {
  client?.terminate();
  progress.length = 0;
  if (lacking.length === 0) client = createWorkerClient();
  else {
    const name = lacking.join();
    const worker = new Worker(new URL("./without.worker.ts", import.meta.url), {
      type: "module",
      name,
    });
    client = createWorkerClient(worker as WorkerLike);
  }
  return client;
}

const visit = {
  progress,
  /** Opens the bundle at `path` in a new worker, on one WASM thread. */
  load: (lacking: Lacking[] = [], path = "/bundle/manifest.json"): Promise<Outcome<LoadResult>> =>
    start(lacking).load(
      {
        manifestUrl: absolute(path),
        runtimeUrl: absolute("/ort/"),
        providers: [{ provider: "wasm", threads: 1 }],
      },
      { onProgress: (one) => progress.push(one) },
    ),
  prefetchStyle: (name: string) => client?.prefetchStyle(name),
  /** Three steps of the model. @returns the sum of the latents' absolute values */
  async denoise(shape: { tokens: number; width: number; size: number; sampler: string }) {
    const embeds = () => ({
      data: new Float32Array(shape.tokens * shape.width).fill(0.1),
      shape: [1, shape.tokens, shape.width],
    });
    const outcome = await (client as WorkerClient).denoise({
      promptEmbeds: embeds(),
      negativePromptEmbeds: embeds(),
      styles: [],
      seed: 1,
      steps: 3,
      guidanceScale: 2,
      sampler: shape.sampler,
      height: shape.size,
      width: shape.size,
      preview: false,
    });
    if (!outcome.ok) throw new Error(outcome.problem.message);
    return outcome.value.latents.data.reduce((sum, value) => sum + Math.abs(value), 0);
  },
  /** See opfs.worker.ts. */
  meet: () =>
    new Promise<Record<string, unknown>>((resolve) => {
      const worker = new Worker(new URL("./opfs.worker.ts", import.meta.url), { type: "module" });
      worker.onmessage = ({ data }) => resolve(data);
    }),
  listStorage,
  removeAll,
  removeBundle: (path: string) => removeBundle(absolute(path)),
  removeStyle: (path: string, name: string) => removeStyle(absolute(path), name),
};

declare global {
  interface Window {
    visit: typeof visit;
  }
}
window.visit = visit;
