import { describe, expect, test } from "vitest";
import type { SamplerTable } from "../../src/bundle/manifest.gen";
import { arrays, type Values } from "../../src/engine/arithmetic";
import { type DenoiseInputs, type Denoiser, denoise } from "../../src/engine/denoise";
import { NoiseGenerator } from "../../src/engine/noise";
import type { Tensor } from "../../src/engine/safetensors";
import type { Prepared } from "../../src/engine/unet";
import cases from "../vectors/samplers.json";
import { toyModel } from "./toymodel";

const embeds = (value: number): Tensor => ({ data: Float32Array.of(value), shape: [1, 1, 1] });

/** The toy model, with something said or done before each step. */
const watched =
  (before: (...args: Parameters<Prepared["step"]>) => void): Denoiser =>
  async (condition) => {
    const toy = await toyModel(condition);
    const watching = ({ step, ...rest }: Prepared): Prepared => ({
      ...rest,
      promptAlone: async () => watching(await rest.promptAlone()),
      step: (...args) => {
        before(...args);
        return step(...args);
      },
    });
    return watching(toy);
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

test("outside the guidance range the model sees the prompt alone", async () => {
  const batches: unknown[] = [];
  const model = watched((_, [batch]) => batches.push(batch));
  await denoise(inputsOf(ddim, { guidanceRange: [0.2, 0.7] }), model);
  expect(batches).toEqual([1, 2, 2, 2, 1, 1]);
  batches.length = 0;
  const conditions: number[][] = [];
  await denoise(inputsOf(ddim, { guidanceRange: [0.5, 0.5] }), (condition) => {
    conditions.push(condition.shape);
    return model(condition);
  });
  expect(batches).toEqual(Array(6).fill(1));
  expect(conditions).toEqual([[1, 1, 1]]); // nothing is prepared for a negative prompt
});

test("inner layers are computed at the interval, and anew for another batch", async () => {
  const asked: unknown[] = [];
  const model = watched((_, [batch], __, deep) => asked.push(`${batch} ${deep}`));
  await denoise(inputsOf(ddim, { guidanceRange: [0, 0.5], cacheInterval: 2 }), model);
  const guided = ["2 kept", "2 reused", "2 kept"];
  expect(asked).toEqual([...guided, "1 kept", "1 reused", "1 kept"]);
  asked.length = 0;
  await denoise(inputsOf(ddim), model);
  expect(asked).toEqual(Array(6).fill("2 unused"));
});

test("guidance 1 asks the model once, for the prompt alone", async () => {
  const conditions: unknown[] = [];
  const batches: unknown[] = [];
  const model = watched((_, [batch]) => batches.push(batch));
  await denoise(inputsOf(ddim, { guidanceScale: 1 }), (condition) => {
    conditions.push([...condition.data]);
    return model(condition);
  });
  expect(conditions).toEqual([[Math.fround(0.4)]]);
  expect(batches).toEqual(Array(6).fill(1));
});

test("what was prepared for a picture is let go, however the picture ends", async () => {
  let held = 0;
  const holding = (step: Prepared["step"]): Denoiser => {
    const hold = async (): Promise<Prepared> => {
      held += 1;
      return { math: arrays, step, promptAlone: hold, dispose: () => (held -= 1) };
    };
    return hold;
  };
  for (const guidanceRange of [
    [0, 1],
    [0.2, 0.7],
    [0.5, 0.5],
  ] as [number, number][]) {
    await denoise(
      inputsOf(ddim, { guidanceRange }),
      holding(async (sample) => sample),
    );
    expect(held).toBe(0);
  }
  const lost = holding(() => Promise.reject(new Error("device lost")));
  await expect(denoise(inputsOf(ddim), lost)).rejects.toThrow("device lost");
  expect(held).toBe(0);
});

test("reports every model call, and the result as the last one's latent", async () => {
  const seen: number[] = [];
  let last: Float32Array | undefined;
  const result = await denoise(inputsOf(ddim), toyModel, {
    async onStep({ step, steps, next }) {
      seen.push(step);
      expect(steps).toBe(6);
      last = await next();
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
    watched(() => {
      calls += 1;
      if (calls === 2) setTimeout(() => controller.abort());
      const until = performance.now() + 5;
      while (performance.now() < until); // as WebAssembly would, hold the thread
    }),
    { signal: controller.signal },
  );
  await expect(run).rejects.toMatchObject({ code: "cancelled" });
  expect(calls).toBeLessThanOrEqual(3);
});

test("NaN from the model is a problem of numbers, not a black picture", async () => {
  const step = async (sample: Values) => new Float32Array(sample.length).fill(Number.NaN);
  const prepared: Prepared = {
    math: arrays,
    step,
    promptAlone: async () => prepared,
    dispose() {},
  };
  const run = denoise(inputsOf(ddim), async () => prepared);
  await expect(run).rejects.toMatchObject({ code: "numbers" });
});
