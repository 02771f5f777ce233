/** The denoising loop: model calls and weighted sums, as a sampler table says. */

import type { SamplerTable } from "../bundle/manifest.gen";
import type { NoiseGenerator } from "./noise";
import { EngineProblem, stopIfAborted } from "./problems";
import type { Tensor } from "./safetensors";
import { type History, weightedSum } from "./samplers";

/** The UNet with its LoRA inputs in place; see `UNet.run` for shapes. */
export type Denoiser = (sample: Tensor, timestep: number, embeds: Tensor) => Promise<Float32Array>;

export interface DenoiseInputs {
  table: SamplerTable;
  /** Gives the start noise, then each step's fresh noise, in diffusers' order. */
  noise: NoiseGenerator;
  /** `[channels, height, width]` of the latents. */
  shape: readonly [number, number, number];
  /** Classifier-free guidance (Ho and Salimans 2022); at 1 and below the negative prompt is unused. */
  guidanceScale: number;
  /** `[1, tokens, width]`. */
  promptEmbeds: Tensor;
  negativePromptEmbeds: Tensor;
}

export interface DenoiseHooks {
  /**
   * After each model call. `next` is the latent as the UNet would see it next, and after the last
   * call the result: in both cases near unit scale, whatever the sampler's own scale is.
   */
  onStep?: (done: {
    step: number;
    steps: number;
    milliseconds: number;
    next(): Float32Array;
  }) => void;
  signal?: AbortSignal | undefined;
}

/**
 * A whole run.
 *
 * @returns latents `[1, channels, height, width]`
 * @throws EngineProblem `cancelled` within one model call of the abort; `numbers` on NaN or infinity
 */
export async function denoise(
  inputs: DenoiseInputs,
  model: Denoiser,
  { onStep, signal }: DenoiseHooks = {},
): Promise<Tensor> {
  const { table, noise, shape } = inputs;
  const size = shape[0] * shape[1] * shape[2];
  const predict = withGuidance(inputs, model);
  const start = noise.randn(size).map((value) => value * table.start_scale);
  const history: History = { x: [start], e: [], z: [] };
  for (const [i, step] of table.steps.entries()) {
    await breathe();
    stopIfAborted(signal);
    const began = performance.now();
    const output = await predict(weightedSum(step.input, history), step.timestep);
    if (!output.every(Number.isFinite)) throw notFinite(i, table.steps.length);
    history.e[i] = output;
    if (step.noise) history.z[i] = noise.randn(size);
    history.x[i + 1] = weightedSum(step.next, history);
    const following = table.steps[i + 1];
    onStep?.({
      step: i + 1,
      steps: table.steps.length,
      milliseconds: performance.now() - began,
      next: () => (following ? weightedSum(following.input, history) : latest(history)),
    });
  }
  stopIfAborted(signal);
  return { data: latest(history), shape: [1, ...shape] };
}

/** The model with classifier-free guidance: both halves in one run, `[uncond, cond]`. */
function withGuidance(inputs: DenoiseInputs, model: Denoiser) {
  const { guidanceScale, promptEmbeds, negativePromptEmbeds, shape } = inputs;
  if (guidanceScale <= 1) {
    return (sample: Float32Array<ArrayBuffer>, timestep: number) =>
      model({ data: sample, shape: [1, ...shape] }, timestep, promptEmbeds);
  }
  const embeds: Tensor = {
    data: joined(negativePromptEmbeds.data, promptEmbeds.data),
    shape: [2, ...promptEmbeds.shape.slice(1)],
  };
  return async (sample: Float32Array<ArrayBuffer>, timestep: number) => {
    const both: Tensor = { data: joined(sample, sample), shape: [2, ...shape] };
    const output = await model(both, timestep, embeds);
    const uncond = output.subarray(0, sample.length);
    const cond = output.subarray(sample.length);
    // In float32 at each operation, as PyTorch has it.
    return uncond.map((u, i) => {
      const difference = Math.fround((cond[i] as number) - u);
      return u + Math.fround(guidanceScale * difference);
    });
  };
}

function joined(first: Float32Array, second: Float32Array): Float32Array<ArrayBuffer> {
  const both = new Float32Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function latest({ x }: History): Float32Array<ArrayBuffer> {
  return x.at(-1) as Float32Array<ArrayBuffer>;
}

/** Lets waiting messages in. A timer would do it too, but browsers hold timers back by 4 ms. */
function breathe(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

function notFinite(step: number, steps: number): EngineProblem {
  return new EngineProblem(
    "numbers",
    `The UNet gave NaN or infinity in step ${step + 1} of ${steps}. Lower the style strengths or ` +
      "the guidance; if it happens without styles, this device's provider computes wrongly.",
  );
}
