import { expect, test } from "vitest";
import type { Golden } from "../../src/bundle/manifest.gen";
import { goldenLora, readGolden, relativeError } from "../../src/engine/golden";
import { NoiseGenerator } from "../../src/engine/noise";
import { mixedManifest } from "../manifest";
import packs from "../vectors/packs.json";
import { floatFile } from "./bytes";

const golden = mixedManifest().unet[0]?.golden as Golden;

test("the error is the largest difference over the largest reference value", () => {
  const expected = Float32Array.of(1, -4, 2);
  expect(relativeError(Float32Array.of(1, -3, 2.5), expected)).toBe(0.25);
  expect(relativeError(expected, expected)).toBe(0);
  expect(relativeError(Float32Array.of(1, Number.NaN, 9), expected)).toBe(Infinity);
  expect(relativeError(Float32Array.of(1), expected)).toBe(Infinity);
});

test("the LoRA is drawn from one generator, A before B, slot after slot", () => {
  const inputs = goldenLora(golden, packs.slots as Parameters<typeof goldenLora>[1]);
  const noise = new NoiseGenerator(1);
  const std = Math.fround(0.1);
  for (const [name, shape] of [
    ["one.lora_A", [3, 2]],
    ["one.lora_B", [2, 5]],
    ["two.lora_A", [4, 2]],
    ["two.lora_B", [2, 2]],
  ] as const) {
    const data = noise.randn(shape[0] * shape[1]).map((value) => value * std);
    expect(inputs.get(name)).toEqual({ data, shape: [...shape] });
  }
});

test("a golden vector without its result is damaged", () => {
  const tensors = { sample: { shape: [1], data: [1] }, timestep: { shape: [1], data: [9] } };
  expect(() => readGolden(floatFile(tensors), golden)).toThrow(/has no encoder_hidden_states/);
});
