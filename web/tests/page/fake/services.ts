/** A worker and a server in words only: they do what a test tells them, when it tells them. */

import type { Manifest } from "../../../src/bundle/manifest.gen";
import type { Words } from "../../../src/page/server";
import type { Services } from "../../../src/page/services";
import type { DenoiseHooks, LoadHooks, WorkerClient } from "../../../src/worker/client";
import type {
  DenoiseRequest,
  DenoiseResult,
  Outcome,
  Problem,
  ProviderReport,
} from "../../../src/worker/protocol";
import { fakeManifest } from "./manifest";

export const report: ProviderReport = {
  provider: "wasm",
  compute: "fp32",
  threads: 2,
  error: 1.1e-6,
  tolerance: 1e-5,
  refused: [
    { provider: "webgpu", compute: "fp16", reason: "No GPU adapter was offered." },
    { provider: "jsep", compute: "fp32", reason: "1.6e-2 from PyTorch; 1.0e-5 is allowed." },
  ],
};

/** A denoise that waits for the test. */
export interface Asked {
  request: DenoiseRequest;
  hooks: DenoiseHooks;
  finish(outcome?: Outcome<DenoiseResult>): void;
}

export interface Fake extends Services {
  words: Words[];
  asked: Asked[];
  loads: LoadHooks[];
  /** Ends the newest load. */
  finishLoad(outcome?: Outcome<ProviderReport>): void;
  /** What the next call to the server ends with. */
  serverThrows: Error | undefined;
}

const tensor = (shape: number[]) => ({
  data: new Float32Array(shape.reduce((product, width) => product * width, 1)),
  shape,
});

export function fakeServices(manifest: Manifest = fakeManifest()): Fake {
  let settleLoad: (outcome: Outcome<ProviderReport>) => void = () => {};
  const cancelled: Problem = { code: "cancelled", message: "Cancelled." };

  const fake: Fake = {
    words: [],
    asked: [],
    loads: [],
    serverThrows: undefined,
    finishLoad: (outcome = { ok: true, value: report }) => settleLoad(outcome),
    bundleUrl: "http://brushlet.test/bundle/",
    request: { manifestUrl: "http://brushlet.test/bundle/manifest.json", runtimeUrl: "" },
    loadManifest: async () => manifest,
    server: {
      async encode(words) {
        if (fake.serverThrows) throw fake.serverThrows;
        fake.words.push(words);
        const embeds = () => tensor([1, 77, 8]);
        const cut = words.prompt.length > 200 ? 5 : 0;
        return { promptEmbeds: embeds(), negativePromptEmbeds: embeds(), cut };
      },
      async decode() {
        if (fake.serverThrows) throw fake.serverThrows;
        return new Blob(["png"], { type: "image/png" });
      },
      async ready() {
        if (fake.serverThrows) throw fake.serverThrows;
      },
    },
    connect: () => client,
  };

  const client: WorkerClient = {
    load(_request, hooks = {}) {
      fake.loads.push(hooks);
      return new Promise((resolve) => {
        settleLoad = resolve;
      });
    },
    denoise(request, hooks = {}) {
      return new Promise((resolve) => {
        const value = { latents: tensor([1, 4, 16, 16]), milliseconds: 1500 };
        hooks.signal?.addEventListener("abort", () => resolve({ ok: false, problem: cancelled }));
        fake.asked.push({
          request,
          hooks,
          finish: (outcome = { ok: true, value }) => resolve(outcome),
        });
      });
    },
    prefetchStyle: async () => ({ ok: true, value: null }),
    terminate() {},
  };
  return fake;
}
