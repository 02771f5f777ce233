import { describe, expect, test } from "vitest";
import type { SamplerTable } from "../../src/bundle/manifest.gen";
import { type DenoiseInputs, type Denoiser, denoise } from "../../src/engine/denoise";
import { NoiseGenerator } from "../../src/engine/noise";
import type { Tensor } from "../../src/engine/safetensors";
import cases from "../vectors/samplers.json";

const embeds = (value: number): Tensor => ({ data: Float32Array.of(value), shape: [1, 1, 1] });

/** The denoiser of make_vectors.py: each row of the batch is shifted by its own embedding. */
const toyModel: Denoiser = async (sample, timestep, condition) => {
  const row = sample.data.length / (sample.shape[0] as number);
  return sample.data.map((x, i) => {
    const shift = condition.data[Math.floor(i / row)] as number;
    return Math.tanh(0.7 * x + shift) + 0.1 * Math.sin(timestep / 100);
  });
};

function inputsOf(table: SamplerTable, changes: Partial<DenoiseInputs> = {}): DenoiseInputs {
  return {
    table,
    noise: new NoiseGenerator(3),
    shape: [2, 4, 3],
    guidanceScale: 4,
    promptEmbeds: embeds(0.4),
    negativePromptEmbeds: embeds(-0.2),
    ...changes,
  };
}

const ddim = cases.find(({ name, steps }) => name === "ddim" && steps === 6)?.table as SamplerTable;

describe("whole runs equal diffusers", () => {
  test.each(cases)("$name, $steps steps", async ({ table, latents }) => {
    const result = await denoise(inputsOf(table as SamplerTable), toyModel);
    expect(result.shape).toEqual([1, 2, 4, 3]);
    const largest = Math.max(...latents.map(Math.abs));
    const errors = latents.map((value, i) => Math.abs(value - (result.data[i] as number)));
    expect(Math.max(...errors) / largest).toBeLessThanOrEqual(1e-5);
  });
});

test("guidance 1 asks the model once, for the prompt alone", async () => {
  const batches: unknown[] = [];
  await denoise(inputsOf(ddim, { guidanceScale: 1 }), (sample, timestep, condition) => {
    batches.push([sample.shape[0], condition.data[0]]);
    return toyModel(sample, timestep, condition);
  });
  expect(batches).toEqual(Array(6).fill([1, Math.fround(0.4)]));
});

test("reports every model call, and the result as the last one's latent", async () => {
  const seen: number[] = [];
  let last: Float32Array | undefined;
  const result = await denoise(inputsOf(ddim), toyModel, {
    onStep({ step, steps, next }) {
      seen.push(step);
      expect(steps).toBe(6);
      last = next();
    },
  });
  expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
  expect(last).toEqual(result.data);
});

test("an abort that arrives as a message ends the run within one step", async () => {
  const controller = new AbortController();
  let calls = 0;
  const run = denoise(
    inputsOf(ddim),
    (...args) => {
      calls += 1;
      if (calls === 2) setTimeout(() => controller.abort());
      const until = performance.now() + 5;
      while (performance.now() < until); // as WebAssembly would, hold the thread
      return toyModel(...args);
    },
    { signal: controller.signal },
  );
  await expect(run).rejects.toMatchObject({ code: "cancelled" });
  expect(calls).toBeLessThanOrEqual(3);
});

test("NaN from the model is a problem of numbers, not a black picture", async () => {
  const run = denoise(inputsOf(ddim), async (sample) => sample.data.map(() => Number.NaN));
  await expect(run).rejects.toMatchObject({ code: "numbers" });
});
