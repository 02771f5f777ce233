import "fake-indexeddb/auto";
import { describe, expect, test } from "vitest";
import type { Golden, UNetVariant } from "../../src/bundle/manifest.gen";
import { type Candidate, listCandidates } from "../../src/engine/providers";
import { Memory } from "../../src/engine/remembered";
import type { OpenVariant } from "../../src/engine/variants";
import { mixedManifest } from "../manifest";

const variant = mixedManifest().unet[0] as UNetVariant;
const device = {
  webgpu: { shaderF16: false, software: false },
  webnn: false,
  isolated: false,
  cores: 1,
  identity: "here",
};
const { candidates } = listCandidates(variant, device);
const [nativeFused, nativePlain, jsepFused] = candidates as [Candidate, Candidate, Candidate];

/** How a visit ended: these were wrong, this one passed. */
function opened(wrong: Candidate[], candidate: Candidate): OpenVariant {
  const { provider, threads, graph } = candidate;
  const figures = { error: 1e-6, tolerance: 1e-5 };
  return {
    variant,
    unet: undefined as never, // memory has no use for it
    candidate,
    report: { provider, threads, compute: graph.compute, ...figures, refused: [] },
    wrong: wrong.map((candidate) => ({ candidate, reason: "1.6e-2 from PyTorch" })),
  };
}

test("the next visit begins with who passed, and tries who failed last", async () => {
  const first = await Memory.of("gpu", variant);
  expect(first.arrange(candidates)).toEqual(candidates);
  await first.learn(opened([nativeFused, nativePlain], jsepFused));

  const second = await Memory.of("gpu", variant);
  const order = second.arrange(candidates);
  expect(order[0]).toBe(jsepFused);
  expect(order.slice(-2)).toEqual([nativeFused, nativePlain]);
  const again = opened([], jsepFused);
  await second.learn(again);
  const told = {
    provider: "webgpu",
    compute: "fp32",
    reason: "1.6e-2 from PyTorch (found at an earlier visit)",
  };
  expect(again.report.refused).toEqual([told, told]);
});

test("who failed once and passes now is held for good again", async () => {
  await (await Memory.of("old driver", variant)).learn(opened([nativeFused], nativePlain));
  await (await Memory.of("old driver", variant)).learn(opened([nativePlain], nativeFused));
  const order = (await Memory.of("old driver", variant)).arrange(candidates);
  expect(order[0]).toBe(nativeFused);
  expect(order.at(-1)).toBe(nativePlain);
});

test("another browser, GPU or bundle is asked anew", async () => {
  await (await Memory.of("one", variant)).learn(opened([nativeFused], nativePlain));
  const golden = variant.golden as Golden;
  const file = { ...golden.file, sha256: "1".repeat(64) };
  const exported = { ...variant, golden: { ...golden, file } };
  for (const memory of [await Memory.of("two", variant), await Memory.of("one", exported)]) {
    expect(memory.arrange(candidates)).toEqual(candidates);
  }
});

describe("what an earlier visit measured", () => {
  const onWasm = candidates.find(({ provider }) => provider === "wasm") as Candidate;
  const figures = { error: 1e-6, tolerance: 1e-5 };

  test("holds on WebAssembly, which computes the same again", async () => {
    await (await Memory.of("measured", variant)).learn(opened([], onWasm));
    const again = await Memory.of("measured", variant);
    expect(again.measured(onWasm)).toEqual(figures);
    expect(again.measured({ ...onWasm, threads: 2 })).toBeUndefined();
    const plain = { ...onWasm.graph, attention: "plain" as const };
    expect(again.measured({ ...onWasm, graph: plain })).toBeUndefined();
  });

  test("is measured anew on a GPU", async () => {
    await (await Memory.of("drivers", variant)).learn(opened([], nativeFused));
    expect((await Memory.of("drivers", variant)).measured(nativeFused)).toBeUndefined();
  });
});

test("providers that were asked for keep their order, and have a memory of their own", async () => {
  const wanted = [{ provider: "wasm" as const }];
  await (await Memory.of("asked", variant, wanted)).learn(opened([nativeFused], jsepFused));
  expect((await Memory.of("asked", variant, wanted)).arrange(candidates)).toEqual(candidates);
  expect((await Memory.of("asked", variant)).arrange(candidates)).toEqual(candidates);
});
