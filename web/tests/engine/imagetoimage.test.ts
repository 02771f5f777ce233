import { describe, expect, test } from "vitest";
import type { SamplerTable } from "../../src/bundle/manifest.gen";
import { denoise } from "../../src/engine/denoise";
import { guidedCalls } from "../../src/engine/guidance";
import { drawLatents, firstCall } from "../../src/engine/imagetoimage";
import { NoiseGenerator } from "../../src/engine/noise";
import type { Tensor } from "../../src/engine/safetensors";
import cases from "../vectors/imagetoimage.json";
import samplers from "../vectors/samplers.json";
import { toyModel } from "./toymodel";

const embeds = (value: number): Tensor => ({ data: Float32Array.of(value), shape: [1, 1, 1] });

const tableOf = (wanted: string) =>
  samplers.find(({ name, steps }) => name === wanted && steps === 6)?.table as SamplerTable;

function distance(found: Float32Array, expected: number[]): number {
  expect(found.length).toBe(expected.length);
  const errors = expected.map((value, i) => Math.abs(value - (found[i] as number)));
  return Math.max(...errors) / Math.max(...expected.map(Math.abs));
}

function inputs(name: string, strength: number, guidanceRange: [number, number]) {
  return {
    table: tableOf(name),
    noise: new NoiseGenerator(3),
    shape: [2, 4, 3] as const,
    guidanceScale: 4,
    guidanceRange,
    over: { latents: Float32Array.from(cases.picture), first: firstCall(6, strength) },
    promptEmbeds: embeds(0.4),
    negativePromptEmbeds: embeds(-0.2),
  };
}

describe("runs over a picture equal diffusers", () => {
  test.each(cases.runs)("$name, strength $strength, guidance in $guidance_range", async (run) => {
    const range = run.guidance_range as [number, number];
    const result = await denoise(inputs(run.name, run.strength, range), toyModel);
    expect(result.shape).toEqual([1, 2, 4, 3]);
    expect(distance(result.data, run.latents)).toBeLessThanOrEqual(1e-5);
  });
});

test("only the steps that are run are reported, and the last one's latent is the result", async () => {
  const seen: number[][] = [];
  let last: Float32Array | undefined;
  const result = await denoise(inputs("unipc", 0.5, [0, 1]), toyModel, {
    async onStep({ step, steps, next }) {
      seen.push([step, steps]);
      last = await next();
    },
  });
  expect(seen).toEqual([
    [1, 3],
    [2, 3],
    [3, 3],
  ]);
  expect(last).toEqual(result.data);
});

test("a table that says not how to begin there is damaged", async () => {
  const table = { ...tableOf("ddim"), restarts: [] };
  const run = denoise({ ...inputs("ddim", 0.5, [0, 1]), table }, toyModel);
  await expect(run).rejects.toMatchObject({ code: "damaged", where: "start" });
});

describe("latents of a posterior", () => {
  const posterior = { data: Float32Array.from(cases.posterior), shape: [1, 4, 4, 3] };

  test("are drawn with the picture's seed as torch draws them", () => {
    const drawn = drawLatents(posterior, 2, new NoiseGenerator(3));
    expect(drawn.shape).toEqual([1, 2, 4, 3]);
    expect(distance(drawn.data, cases.drawn)).toBeLessThanOrEqual(1e-6);
  });

  test("are taken as they are where there is no posterior, and nothing is drawn", () => {
    const noise = new NoiseGenerator(3);
    expect(drawLatents(posterior, 4, noise)).toBe(posterior);
    expect(noise.randn(16)).toEqual(new NoiseGenerator(3).randn(16));
  });
});

test("a strength that leaves no step is refused", () => {
  expect(firstCall(8, 0.125)).toBe(7);
  expect(firstCall(8, 1)).toBe(0);
  expect(() => firstCall(8, 0.12)).toThrow("leaves none of 8 steps");
});

test.each([
  [4, [0, 1], 6, { from: 0, to: 6 }],
  [4, [0.29, 0.8], 100, { from: 28, to: 80 }], // 0.29 * 100 is below 29, in Python too
  [1, [0, 1], 6, { from: 0, to: 0 }],
] as const)("guidance %s in %s of %s calls", (scale, range, calls, expected) => {
  expect(guidedCalls(scale, range, calls)).toEqual(expected);
});
