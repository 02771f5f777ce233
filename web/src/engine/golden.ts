/** Golden vectors: holds a device against PyTorch before it is used. */

import type { Golden, Graph, Slot } from "../bundle/manifest.gen";
import { NoiseGenerator } from "./noise";
import { EngineProblem } from "./problems";
import { parseSafetensors, type Tensor } from "./safetensors";
import type { UNet } from "./unet";

/** One UNet step: its inputs, and PyTorch's fp32 result. */
export interface GoldenStep {
  sample: Tensor;
  timestep: number;
  embeds: Tensor;
  /** Where the UNet is told the guidance. */
  timestepCond: Tensor | undefined;
  expected: Float32Array;
}

/** @param file the golden vector's safetensors; @throws EngineProblem `damaged` */
export function readGolden(file: Uint8Array, { file: { url } }: Golden): GoldenStep {
  const { tensors } = parseSafetensors(file, url);
  const tensor = (name: string): Tensor => {
    const found = tensors.get(name);
    if (found) return found;
    const message = `The golden vector ${url} has no ${name}. Export the bundle again.`;
    throw new EngineProblem("damaged", message, url);
  };
  return {
    sample: tensor("sample"),
    timestep: tensor("timestep").data[0] as number,
    embeds: tensor("encoder_hidden_states"),
    timestepCond: tensors.get("timestep_cond"),
    expected: tensor("out_sample").data,
  };
}

/**
 * The LoRA of a golden step: per slot A `[in, rank]`, then B `[rank, out]`, standard normal times
 * `lora_std`, all from one generator.
 */
export function goldenLora(golden: Golden, slots: readonly Slot[]): Map<string, Tensor> {
  const noise = new NoiseGenerator(golden.lora_seed);
  const std = Math.fround(golden.lora_std);
  const draw = (rows: number, columns: number): Tensor => ({
    data: noise.randn(rows * columns).map((value) => value * std),
    shape: [rows, columns],
  });
  const inputs = new Map<string, Tensor>();
  for (const slot of slots) {
    inputs.set(slot.input_a, draw(slot.in_width, golden.lora_rank));
    inputs.set(slot.input_b, draw(golden.lora_rank, slot.out_width));
  }
  return inputs;
}

/**
 * Runs the step, and its shortcut with the step's own deep features, which is the same.
 *
 * @returns the largest error over the largest reference value
 */
export async function measureError(
  unet: UNet,
  step: GoldenStep,
  lora: ReadonlyMap<string, Tensor>,
): Promise<number> {
  const { sample, timestep, embeds, timestepCond, expected } = step;
  const prepared = await unet.prepare(embeds, lora, timestepCond);
  const { math } = prepared;
  try {
    const input = math.upload(sample.data);
    let worst = 0;
    for (const deep of ["kept", "reused"] as const) {
      const output = await prepared.step(input, sample.shape, timestep, deep);
      worst = Math.max(worst, relativeError(await math.read(output), expected));
      math.free(output);
    }
    math.free(input);
    return worst;
  } finally {
    prepared.dispose();
  }
}

/** max |output - expected| / max |expected|; infinite when the sizes differ or NaN comes up. */
export function relativeError(output: Float32Array, expected: Float32Array): number {
  if (output.length !== expected.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs((output[i] as number) - (expected[i] as number));
    if (!(error <= worst)) worst = error; // also when it is NaN
    if (Number.isNaN(worst)) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, Math.abs(expected[i] as number));
  }
  return worst / largest;
}

/** The largest error that `compute` is allowed. */
export function toleranceOf(golden: Golden, compute: Graph["compute"]): number {
  return compute === "fp16" ? golden.tolerance_fp16 : golden.tolerance_fp32;
}
