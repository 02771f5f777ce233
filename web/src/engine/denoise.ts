/** The denoising loop: model calls and weighted sums, as a sampler table says. */

import type { SamplerTable } from "../bundle/manifest.gen";
import type { Arithmetic, Values } from "./arithmetic";
import { DeepCache, type DeepUse } from "./deepcache";
import { guidedCalls, wholeRange } from "./guidance";
import { beginning, type Over } from "./imagetoimage";
import type { NoiseGenerator } from "./noise";
import { EngineProblem, stopIfAborted } from "./problems";
import type { Tensor } from "./safetensors";
import { type History, partsOf } from "./samplers";
import { joined } from "./tensors";
import type { Prepared } from "./unet";

/** The UNet with its LoRA inputs in place, for text embeddings `[batch, tokens, width]`. */
export type Denoiser = (embeds: Tensor) => Promise<Prepared>;

export interface DenoiseInputs {
  table: SamplerTable;
  /** Gives the start noise, then each step's fresh noise, in diffusers' order. */
  noise: NoiseGenerator;
  /** `[channels, height, width]` of the latents. */
  shape: readonly [number, number, number];
  /** Classifier-free guidance (Ho and Salimans 2022); at 1 and below the negative prompt is unused. */
  guidanceScale: number;
  /** The part of the run that is guided, in fractions; all of it without. */
  guidanceRange?: readonly [from: number, to: number];
  /** Every how many model calls the inner layers are computed; on all without. */
  cacheInterval?: number;
  /** What the run begins over; noise alone without. */
  over?: Over;
  /** `[1, tokens, width]`. */
  promptEmbeds: Tensor;
  negativePromptEmbeds: Tensor;
}

export interface DenoiseHooks {
  /**
   * After each model call; the next one waits for it. `next` reads the latent as the UNet would see
   * it next, and after the last call the result: in both cases near unit scale, whatever the
   * sampler's own scale is.
   */
  onStep?: (done: {
    step: number;
    steps: number;
    milliseconds: number;
    next(): Promise<Float32Array>;
  }) => void | Promise<void>;
  signal?: AbortSignal | undefined;
}

/**
 * A whole run.
 *
 * @returns latents `[1, channels, height, width]`
 * @throws EngineProblem `cancelled` within one model call of the abort; `numbers` on NaN or infinity,
 *   at once on the CPU, and on the GPU with the next latents that are read
 * @throws ProviderFailure when the provider fails
 */
export async function denoise(
  inputs: DenoiseInputs,
  model: Denoiser,
  hooks: DenoiseHooks = {},
): Promise<Tensor> {
  const { table, over, guidanceScale, guidanceRange = wholeRange, cacheInterval = 1 } = inputs;
  const calls = table.steps.length - (over?.first ?? 0);
  const guided = guidedCalls(guidanceScale, guidanceRange, calls);
  const count = guided.to - guided.from;
  const prepared = await model(count > 0 ? bothEmbeds(inputs) : inputs.promptEmbeds);
  const history: History = { x: [], e: [], z: [] };
  let alone: Prepared | undefined;
  try {
    if (count < calls) alone = count > 0 ? await prepared.promptAlone() : prepared;
    const { from, to } = guided;
    const cache = new DeepCache(cacheInterval);
    const predict: Predict = (call, ...step) => {
      const guides = call >= from && call < to;
      const own = guides ? prepared : (alone ?? prepared);
      return (guides ? withGuidance : withoutGuidance)(inputs, own, ...step, cache.next(own));
    };
    return await run(inputs, prepared.math, predict, history, hooks);
  } finally {
    for (const values of Object.values(history).flat()) prepared.math.free(values);
    if (alone !== prepared) alone?.dispose();
    prepared.dispose();
  }
}

/** @param call the number of the model call within the run, from 0 */
type Predict = (call: number, sample: Values, timestep: number) => Promise<Values>;

async function run(
  { table, noise, shape, over }: DenoiseInputs,
  math: Arithmetic,
  predict: Predict,
  history: History,
  { onStep, signal }: DenoiseHooks,
): Promise<Tensor> {
  const size = shape[0] * shape[1] * shape[2];
  const { first, latents, steps } = beginning(table, size, noise, over);
  const read = async (values: Values, call: number) => {
    const array = await math.read(values);
    if (!array.every(Number.isFinite)) throw notFinite(call, steps.length);
    return array;
  };
  history.x[first] = math.upload(latents);
  for (const [call, step] of steps.entries()) {
    await breathe();
    stopIfAborted(signal);
    const began = performance.now();
    const i = first + call;
    const sample = math.weightedSum(partsOf(step.input, history));
    const output = await predict(call, sample, step.timestep);
    history.e[i] = output;
    math.free(sample);
    if (math.isFinite(output) === false) throw notFinite(call + 1, steps.length);
    if (step.noise) history.z[i] = math.upload(noise.randn(size));
    history.x[i + 1] = math.weightedSum(partsOf(step.next, history));
    await math.settled();
    const milliseconds = performance.now() - began;
    const following = steps[call + 1];
    const next = async () => {
      if (!following) return read(latest(history), call + 1);
      const seen = math.weightedSum(partsOf(following.input, history));
      return read(seen, call + 1).finally(() => math.free(seen));
    };
    await onStep?.({ step: call + 1, steps: steps.length, milliseconds, next });
  }
  stopIfAborted(signal);
  return { data: await read(latest(history), steps.length), shape: [1, ...shape] };
}

/** Both halves of a guided run, `[uncond, cond]`. */
function bothEmbeds({ promptEmbeds, negativePromptEmbeds }: DenoiseInputs): Tensor {
  const data = joined(negativePromptEmbeds.data, promptEmbeds.data);
  return { data, shape: [2, ...promptEmbeds.shape.slice(1)] };
}

function withoutGuidance(
  { shape }: DenoiseInputs,
  { step }: Prepared,
  sample: Values,
  timestep: number,
  deep: DeepUse,
): Promise<Values> {
  return step(sample, [1, ...shape], timestep, deep);
}

/** The model with classifier-free guidance; it was prepared with `bothEmbeds`. */
async function withGuidance(
  { guidanceScale, shape }: DenoiseInputs,
  { math, step }: Prepared,
  sample: Values,
  timestep: number,
  deep: DeepUse,
): Promise<Values> {
  const both = math.repeat(sample, 2);
  const output = await step(both, [2, ...shape], timestep, deep);
  const guided = math.guide(output, guidanceScale);
  math.free(both);
  math.free(output);
  return guided;
}

function latest({ x }: History): Values {
  return x.at(-1) as Values;
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
    `The UNet gave NaN or infinity by step ${step} of ${steps}. Lower the style strengths or ` +
      "the guidance; if it happens without styles, this device's provider computes wrongly.",
  );
}
