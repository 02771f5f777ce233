import { describe, expect, test } from "vitest";
import { type Device, listCandidates, threadsFor } from "../../src/engine/providers";
import { graph, mixedManifest } from "../manifest";

const variant = mixedManifest().unet[0] as NonNullable<ReturnType<typeof mixedManifest>["unet"][0]>;
const gpu = { shaderF16: true, software: false };
const device = (changes: Partial<Device> = {}): Device => ({
  webgpu: gpu,
  webnn: false,
  isolated: true,
  cores: 4,
  identity: "test",
  ...changes,
});
const named = (found: ReturnType<typeof listCandidates>) =>
  found.candidates.map(({ provider, threads, graph: { compute, attention } }) =>
    [provider, compute, attention, threads].join(" "),
  );

describe("candidates, in the order of trying", () => {
  test("a GPU with 16-bit shaders, then WASM with threads, then without", () => {
    expect(named(listCandidates(variant, device()))).toEqual([
      "webgpu fp16 fused 1",
      "webgpu fp16 plain 1",
      "webgpu fp32 fused 1",
      "webgpu fp32 plain 1",
      "jsep fp16 fused 1",
      "jsep fp16 plain 1",
      "jsep fp32 fused 1",
      "jsep fp32 plain 1",
      "wasm fp32 fused 4",
      "wasm fp32 plain 4",
      "wasm fp32 fused 1",
      "wasm fp32 plain 1",
    ]);
  });

  test("no 16-bit shaders, no isolation: fp32 and one thread, and the reason is kept", () => {
    const poor = device({ webgpu: { ...gpu, shaderF16: false }, isolated: false });
    const found = listCandidates(variant, poor);
    expect(named(found)).toEqual([
      "webgpu fp32 fused 1",
      "webgpu fp32 plain 1",
      "jsep fp32 fused 1",
      "jsep fp32 plain 1",
      "wasm fp32 fused 1",
      "wasm fp32 plain 1",
    ]);
    expect(found.refused.map(({ provider, compute }) => `${provider} ${compute}`)).toEqual([
      "webgpu fp16",
      "jsep fp16",
    ]);
  });

  test("WebNN comes before WASM where the browser has it, and only there", () => {
    const only = { ...variant, graphs: [graph("fp16", "fused", ["webnn"])] };
    expect(named(listCandidates(only, device({ webnn: true })))).toEqual(["webnn fp16 fused 1"]);
    expect(listCandidates(only, device()).candidates).toEqual([]);
    const asked = listCandidates(only, device(), [{ provider: "webnn" }]);
    expect(asked.refused[0]?.reason).toBe("this browser offers no WebNN");
  });

  test("no GPU, or one in software: WASM, unless it is asked for", () => {
    for (const webgpu of [undefined, { ...gpu, software: true }]) {
      const found = listCandidates(variant, device({ webgpu }));
      expect(found.candidates.every(({ provider }) => provider === "wasm")).toBe(true);
      expect(found.refused.map(({ provider }) => provider)).toEqual(["webgpu", "jsep"]);
    }
    const software = device({ webgpu: { ...gpu, software: true } });
    const wanted = [{ provider: "jsep" as const, compute: "fp32" as const }];
    expect(named(listCandidates(variant, software, wanted))[0]).toBe("jsep fp32 fused 1");
  });

  test("a graph goes only to the providers it suits", () => {
    const only = { ...variant, graphs: [graph("fp32", "fused", ["jsep"])] };
    const found = listCandidates(only, device());
    expect(named(found)).toEqual(["jsep fp32 fused 1"]);
    expect(found.refused).toContainEqual({
      provider: "wasm",
      compute: "any",
      reason: "the bundle has no graph for it",
    });
  });

  test("threads that the page cannot have are refused, not lowered in silence", () => {
    const alone = device({ isolated: false });
    const found = listCandidates(variant, alone, [{ provider: "wasm", threads: 2 }]);
    expect(found.candidates).toEqual([]);
    expect(found.refused[0]?.reason).toMatch(/2 threads need a cross-origin isolated page/);
  });
});

test.each([
  [1, 1],
  [2, 2],
  [4, 4],
  [8, 4],
  [32, 8],
])("%i cores give %i threads", (cores, threads) => {
  expect(threadsFor(device({ cores }))).toBe(threads);
});
