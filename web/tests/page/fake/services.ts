/** A worker and a server in words only: they do what a test tells them, when it tells them. */

import type { Manifest } from "../../../src/bundle/manifest.gen";
import type { Words } from "../../../src/library/codec";
import type { RemoteSpec, Server } from "../../../src/library/server";
import type { Services } from "../../../src/page/services";
import type { DenoiseHooks, LoadHooks, WorkerClient } from "../../../src/worker/client";
import type {
  CallName,
  CallResult,
  DenoiseRequest,
  DenoiseResult,
  LoadResult,
  Outcome,
  Problem,
  ProviderReport,
  StorageReport,
} from "../../../src/worker/protocol";
import { fakeManifest } from "../../manifest";

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

export const storage: StorageReport = { kind: "opfs", persisted: true, offline: false };

/** The smallest PNG: pictures have their settings written into them. */
export const onePixel = Uint8Array.from(
  atob(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgZGIGAAAOAAfXb+R4AAAAAElFTkSuQmCC",
  ),
  (letter) => letter.charCodeAt(0),
);

/** A denoise that waits for the test. */
export interface Asked {
  request: DenoiseRequest;
  hooks: DenoiseHooks;
  finish(outcome?: Outcome<DenoiseResult>): void;
}

export interface Fake extends Services {
  server: Server;
  words: Words[];
  asked: Asked[];
  loads: LoadHooks[];
  prefetches: { name: string; hooks: LoadHooks }[];
  /** Ends the newest load. */
  finishLoad(outcome?: Outcome<LoadResult>): void;
  /** What the next call to the server ends with. */
  serverThrows: Error | undefined;
  /** Pictures asked of the server. */
  remote: RemoteSpec[];
  /** Other calls of the worker, and what they are answered. */
  calls: { type: CallName; request: unknown }[];
  answers: { [Name in CallName]?: CallResult<Name> };
  /** Those that end with a problem instead. */
  refusals: { [Name in CallName]?: Problem };
  terminated: boolean;
  /** Whether a denoise that is cancelled waits for the test all the same. */
  deaf: boolean;
}

const tensor = (shape: number[]) => ({
  data: new Float32Array(shape.reduce((product, width) => product * width, 1)),
  shape,
});

export function fakeServices(manifest: Manifest = fakeManifest()): Fake {
  let settleLoad: (outcome: Outcome<LoadResult>) => void = () => {};
  const cancelled: Problem = { code: "cancelled", message: "Cancelled." };

  const fake: Fake = {
    words: [],
    asked: [],
    loads: [],
    prefetches: [],
    refusals: {},
    serverThrows: undefined,
    remote: [],
    calls: [],
    answers: { "local-styles": [] },
    terminated: false,
    deaf: false,
    finishLoad: (outcome = { ok: true, value: { report, storage } }) => settleLoad(outcome),
    bundleUrl: "http://brushlet.test/bundle/",
    request: { manifestUrl: "http://brushlet.test/bundle/manifest.json", runtimeUrl: "" },
    openManifest: async () => ({ manifest, offline: false }),
    server: {
      async encode(words) {
        if (fake.serverThrows) throw fake.serverThrows;
        fake.words.push(words);
        const embeds = () => tensor([1, 77, 8]);
        return { promptEmbeds: embeds(), negativePromptEmbeds: embeds() };
      },
      async decode() {
        if (fake.serverThrows) throw fake.serverThrows;
        return new Blob([onePixel], { type: "image/png" });
      },
      async encodeImage({ width, height }) {
        if (fake.serverThrows) throw fake.serverThrows;
        return tensor([1, 4, height / 8, width / 8]);
      },
      async generate(order) {
        if (fake.serverThrows) throw fake.serverThrows;
        fake.remote.push(order);
        return new Blob([onePixel], { type: "image/png" });
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
      if (hooks.signal?.aborted) return Promise.resolve({ ok: false, problem: cancelled });
      return new Promise((resolve) => {
        const value = { latents: tensor([1, 4, 16, 16]), milliseconds: 1500, provider: report };
        hooks.signal?.addEventListener("abort", () => {
          if (!fake.deaf) resolve({ ok: false, problem: cancelled });
        });
        fake.asked.push({
          request,
          hooks,
          finish: (outcome = { ok: true, value }) => resolve(outcome),
        });
      });
    },
    async prefetchStyle(name, hooks = {}) {
      fake.prefetches.push({ name, hooks });
      return { ok: true, value: null };
    },
    async call(type, request) {
      if (type === "warm-up") return { ok: true, value: null as never };
      fake.calls.push({ type, request });
      const value = fake.answers[type];
      if (value !== undefined) return { ok: true, value };
      const message = "This worker is in words only.";
      return { ok: false, problem: fake.refusals[type] ?? { code: "internal", message } };
    },
    terminate() {
      fake.terminated = true;
    },
  };
  return fake;
}
