/** The page of peak.mjs: each phase is done in a worker, as the engine is. */

import { createWorkerClient } from "../../src/worker/client";

const worker = new Worker(new URL("./peak.worker.ts", import.meta.url), { type: "module" });

function ask(message: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) =>
      data.error ? reject(new Error(data.error)) : resolve(data.told);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(message);
  });
}

const phases = {
  /** Gets every shard; `memory`: without a store. */
  shards: (memory: boolean) => ask({ phase: "shards", memory }),
  /** Creates prepare and step session of the stand-ins. */
  sessions: () => ask({ phase: "sessions" }),
  /** Opens the bundle as the page does, on WASM. */
  async open() {
    worker.terminate();
    const absolute = (path: string) => new URL(path, location.href).href;
    const outcome = await createWorkerClient().load({
      manifestUrl: absolute("/bundle/manifest.json"),
      runtimeUrl: absolute("/ort/"),
      providers: [{ provider: "wasm" }],
    });
    return outcome.ok ? "opened" : `${outcome.problem.code}: ${outcome.problem.message}`;
  },
};

declare global {
  interface Window {
    phases: typeof phases;
  }
}
window.phases = phases;
