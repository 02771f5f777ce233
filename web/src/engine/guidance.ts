/**
 * On which model calls guidance is applied, and UNets that are told the guidance (LCM) instead of
 * being run with a negative prompt beside.
 */

import type { Model } from "../bundle/manifest.gen";
import type { Tensor } from "./safetensors";

/**
 * The graph input `timestep_cond [1, F]`, with the rounding of diffusers'
 * `get_guidance_scale_embedding`.
 *
 * @returns undefined for a UNet without such an input
 */
export function guidanceCondition(
  { guidance_frequencies: frequencies = [] }: Model,
  guidanceScale: number,
): Tensor | undefined {
  if (frequencies.length === 0) return undefined;
  const weight = Math.fround(Math.fround(guidanceScale - 1) * 1000);
  const angles = frequencies.map((frequency) => Math.fround(weight * Math.fround(frequency)));
  const data = Float32Array.from([...angles.map(Math.sin), ...angles.map(Math.cos)]);
  return { data, shape: [1, data.length] };
}

/** The whole run. */
export const wholeRange = [0, 1] as const;

/**
 * The model calls that run with guidance, `from` to before `to` of a run's `calls`. In a limited
 * interval of the noise levels guidance does most of its good, and each call outside costs half
 * (arXiv:2404.07724). The rounding is that of diffusers' `ClassifierFreeGuidance`.
 *
 * @param scale 1 and below is no guidance
 * @param range in fractions of the run
 */
export function guidedCalls(
  scale: number,
  range: readonly [from: number, to: number],
  calls: number,
): { from: number; to: number } {
  if (scale <= 1) return { from: 0, to: 0 };
  return { from: Math.trunc(range[0] * calls), to: Math.trunc(range[1] * calls) };
}
