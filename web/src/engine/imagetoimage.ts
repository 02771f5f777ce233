/** Image-to-image: a run that begins over a picture's latents, at one of its later steps. */

import type { SamplerTable } from "../bundle/manifest.gen";
import type { NoiseGenerator } from "./noise";
import { EngineProblem } from "./problems";
import type { Tensor } from "./safetensors";

/** How far a picture is left at first: its composition stays, its manner changes. */
export const usualImageStrength = 0.6;

/** What a run begins over. */
export interface Over {
  /** The picture's, in the run's size. */
  latents: Float32Array;
  /** The first model call, from 0. */
  first: number;
}

/** The first latents of a run, and the steps from there. */
export interface Beginning {
  /** The number of the first model call. */
  first: number;
  latents: Float32Array<ArrayBuffer>;
  steps: SamplerTable["steps"];
}

/**
 * Where a run of `steps` begins: `get_timesteps` of diffusers' StableDiffusionImg2ImgPipeline.
 *
 * @param strength the part of the run that is run, above 0 to 1
 * @throws EngineProblem `request` when it leaves no step
 */
export function firstCall(steps: number, strength: number): number {
  const calls = Math.min(Math.trunc(steps * strength), steps);
  if (calls > 0) return steps - calls;
  const message = `The image strength ${strength} leaves none of ${steps} steps to run; raise it or the steps.`;
  throw new EngineProblem("request", message, "start");
}

/**
 * A picture's latents, of what `encode-image` gives: those of the whole posterior are drawn, as
 * diffusers draws them, before any other noise.
 *
 * @param encoded `[1, channels, h, w]`: taken as they are; `[1, 2 * channels, h, w]`: mean, then
 *   standard deviation
 */
export function drawLatents(encoded: Tensor, channels: number, noise: NoiseGenerator): Tensor {
  const [, found, ...size] = encoded.shape;
  if (found === channels) return encoded;
  const half = encoded.data.length / 2;
  const deviation = encoded.data.subarray(half);
  const draw = noise.randn(half);
  const data = draw.map(
    (value, i) => (encoded.data[i] as number) + Math.fround((deviation[i] as number) * value),
  );
  return { data, shape: [1, channels, ...size] };
}

/**
 * How a run begins: with noise, or over a picture.
 *
 * @param size of the latents, in numbers
 * @throws EngineProblem `damaged` when the table does not say how to begin over a picture
 */
export function beginning(
  table: SamplerTable,
  size: number,
  noise: NoiseGenerator,
  over: Over | undefined,
): Beginning {
  if (!over) {
    const latents = noise.randn(size).map((value) => value * table.start_scale);
    return { first: 0, latents, steps: table.steps };
  }
  const { first } = over;
  const restart = table.restarts[first];
  if (!restart) {
    const message = `The sampler's table says not how to begin at step ${first}. Export the base again.`;
    throw new EngineProblem("damaged", message, "start");
  }
  // In double, rounded once, like every sum of a table.
  const latents = noise
    .randn(size)
    .map((value, i) => restart.image * (over.latents[i] as number) + restart.noise * value);
  const { next = [] } = restart;
  const steps = table.steps
    .slice(first)
    .map((step, i) => ({ ...step, next: next[i] ?? step.next }));
  return { first, latents, steps };
}
