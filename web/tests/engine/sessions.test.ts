import { expect, test } from "vitest";
import { devDependencies as dependencies } from "../../package.json";
import { ORT_VERSION, type Ort } from "../../src/engine/runtimes";
import { openSessions } from "../../src/engine/sessions";

/** onnxruntime-web that creates what it is asked for and computes nothing. */
function recording(free: (string | number)[] = [2, 4]) {
  const created: Record<string, unknown>[] = [];
  let open = 0;
  const create = async (_: Uint8Array, options: Record<string, unknown>) => {
    created.push(options);
    open += 1;
    const inputMetadata = [{ isTensor: true, name: "sample", shape: free }];
    return { inputMetadata, release: async () => (open -= 1) };
  };
  const ort = { InferenceSession: { create } } as unknown as Ort;
  return { ort, created, open: () => open };
}

const graph = { prepare: Uint8Array.of(1), step: Uint8Array.of(2), shortcut: Uint8Array.of(3) };
const sizes = { batch: 2, tokens: 77, rank: 4 };

test("WebNN gets a session for each shape, and the same one for the same shape", async () => {
  const { ort, created, open } = recording();
  const sessions = await openSessions(ort, "webnn", graph, []);
  expect(created).toHaveLength(0); // no shape is known yet
  const step = await sessions.stepping({ ...sizes, height: 8, width: 8 });
  expect(await sessions.stepping({ ...sizes, height: 8, width: 8 })).toBe(step);
  expect(await sessions.stepping({ ...sizes, height: 8, width: 16 })).not.toBe(step);
  await sessions.preparing(sizes);
  await sessions.shortcut({ ...sizes, height: 8, width: 8 }); // another graph of the same shape
  expect(created.map(({ freeDimensionOverrides }) => freeDimensionOverrides)).toEqual([
    { ...sizes, height: 8, width: 8 },
    { ...sizes, height: 8, width: 16 },
    sizes,
    { ...sizes, height: 8, width: 8 },
  ]);
  expect(created[0]?.executionProviders).toEqual(["webnn"]);
  await sessions.release();
  expect(open()).toBe(0);
});

test("WebNN does not take a graph whose sizes stay free, which would run on the CPU", async () => {
  const { ort } = recording(["batch", 4]);
  const sessions = await openSessions(ort, "webnn", graph, []);
  await expect(sessions.preparing(sizes)).rejects.toThrow(/size batch of sample is free/);
});

test("all others have one session of each graph for every shape", async () => {
  for (const provider of ["webgpu", "jsep", "wasm"] as const) {
    const { ort, created } = recording(["batch", 4]);
    const sessions = await openSessions(ort, provider, graph, []);
    await sessions.stepping({ ...sizes, height: 8, width: 8 });
    await sessions.stepping({ ...sizes, height: 8, width: 16 });
    expect(created).toHaveLength(3);
    expect(created[1]?.preferredOutputLocation).toBe(provider === "wasm" ? "cpu" : "gpu-buffer");
  }
});

test("results are remembered for the onnxruntime-web that is installed", () => {
  expect(ORT_VERSION).toBe(dependencies["onnxruntime-web"]);
});
