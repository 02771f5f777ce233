/** Runs the engine's parts one by one: noise draws, tokens, and single steps on a chosen graph. */

import { arrays } from "../../src/engine/arithmetic";
import { type Denoiser, denoise } from "../../src/engine/denoise";
import { Files, startWork } from "../../src/engine/downloads";
import { baseVariant, loadJson, openManifest, styleNamed } from "../../src/engine/manifest";
import { NoiseGenerator } from "../../src/engine/noise";
import { readPack, stack } from "../../src/engine/packs";
import { asProblem } from "../../src/engine/problems";
import { loadRuntime } from "../../src/engine/runtimes";
import type { Tensor } from "../../src/engine/safetensors";
import { tableFor } from "../../src/engine/samplers";
import { PromptTokenizer } from "../../src/engine/tokens";
import { UNet } from "../../src/engine/unet";
import { graphBytes } from "../../src/engine/variants";
import {
  type JobResult,
  type NoiseJob,
  places,
  type SamplerJob,
  type StepJob,
  type TokensJob,
} from "./jobs";
import { fetchInputs, sendOutput } from "./tensorfile";

const work = startWork({});
const manifestUrl = new URL(places.manifest, location.href).href;
const files = new Files(manifestUrl);
const bundle = (async () => {
  const { manifest } = await openManifest(manifestUrl);
  const { slots } = await loadJson(files, manifest.slots, "SlotTable", work);
  return { manifest, slots };
})();
bundle.catch(() => {}); // told by the job that needs it

/** The session of the last step job: jobs in a row on the same graph share it. */
let current: { key: string; unet: UNet } | undefined;

async function opened(job: StepJob): Promise<UNet> {
  const { provider, threads = 1, compute, attention } = job;
  const key = JSON.stringify([job.variant, provider, threads, compute, attention]);
  if (current?.key === key) return current.unet;
  await current?.unet.release();
  current = undefined;
  const { manifest } = await bundle;
  const name = job.variant ?? baseVariant(manifest).name;
  const graph = manifest.unet
    .find((variant) => variant.name === name)
    ?.graphs.find((graph) => graph.compute === compute && graph.attention === attention);
  if (!graph) throw new Error(`the bundle has no graph ${name} ${compute} ${attention}`);
  const shards = [];
  for (const shard of graph.shards) {
    const file = manifest.shards[shard];
    if (file) shards.push({ name: file.url, bytes: await files.get(file, "shards", work) });
  }
  const runtime = await loadRuntime(provider, threads, new URL(places.runtime, location.href).href);
  const bytes = await graphBytes({ files }, graph, work);
  current = { key, unet: await UNet.create(runtime, provider, bytes, shards) };
  return current.unet;
}

/** The bundle's styles, stacked; nothing for a variant without slots. */
async function stackedStyles({ variant, styles = [] }: StepJob): Promise<Map<string, Tensor>> {
  const { manifest, slots } = await bundle;
  const { name: base } = baseVariant(manifest);
  if (!manifest.unet.find(({ name }) => name === (variant ?? base))?.slots) return new Map();
  const packs = [];
  for (const { name, strength } of styles) {
    const { pack: file } = styleNamed(manifest, name);
    if (!file) throw new Error(`${name} is no external style`);
    const pack = readPack(await files.get(file, "style", work), manifest, slots, name);
    packs.push({ pack, strength });
  }
  return stack(packs, slots);
}

async function step(job: StepJob): Promise<JobResult> {
  const unet = await opened(job);
  const inputs = await fetchInputs(job.inputs);
  const take = (name: string): Tensor => {
    const tensor = inputs.get(name);
    if (!tensor) throw new Error(`${job.inputs} has no ${name}`);
    inputs.delete(name);
    return tensor;
  };
  const sample = take("sample");
  const timestep = take("timestep").data[0] as number;
  const embeds = take("encoder_hidden_states");
  const prepared = await unet.prepare(embeds, inputs.size ? inputs : await stackedStyles(job));
  const { math } = prepared;
  const input = math.upload(sample.data);
  const times: number[] = [];
  let data = new Float32Array();
  for (let i = -(job.warmUp ?? 0); i < (job.repeat ?? 1); i++) {
    const began = performance.now();
    const output = await prepared.step(input, sample.shape, timestep);
    data = await math.read(output);
    if (i >= 0) times.push(performance.now() - began);
    math.free(output);
  }
  prepared.dispose();
  const output = await sendOutput(job.id, { out_sample: { data, shape: sample.shape } });
  times.sort((a, b) => a - b);
  return { id: job.id, ok: true, output, milliseconds: times[times.length >> 1] as number };
}

async function noise({ id, seed, sizes }: NoiseJob): Promise<JobResult> {
  const generator = new NoiseGenerator(seed);
  const draws = sizes.map((size, i) => [
    `noise_${i}`,
    { data: generator.randn(size), shape: [size] },
  ]);
  return { id, ok: true, output: await sendOutput(id, Object.fromEntries(draws)) };
}

async function tokens({ id, prompts }: TokensJob): Promise<JobResult> {
  const { tokenizer: settings } = (await bundle).manifest;
  const parse = async (file: typeof settings.tokenizer_json) =>
    JSON.parse(new TextDecoder().decode(await files.get(file, "graphs", work)));
  const tokenizer = new PromptTokenizer(
    await parse(settings.tokenizer_json),
    await parse(settings.tokenizer_config),
    settings,
  );
  const found: Record<string, Tensor> = {};
  for (const [i, prompt] of prompts.entries()) {
    const put = (name: string, values: number[], shape = [values.length]) => {
      found[`${name}_${i}`] = { data: Float32Array.from(values), shape };
    };
    const rows = tokenizer.rows(prompt);
    const shape = [rows.length, settings.max_length];
    put("tokens", [settings.bos_token_id, ...tokenizer.tokenize(prompt), settings.eos_token_id]);
    put(
      "rows",
      rows.flatMap((row) => row.ids),
      shape,
    );
    put(
      "weights",
      rows.flatMap((row) => row.weights),
      shape,
    );
  }
  return { id, ok: true, output: await sendOutput(id, found) };
}

/** Not linear, so that an error in the input shows in the output; `_toy_model` in tests/parity. */
const toyModel: Denoiser = async (embeds) => ({
  math: arrays,
  promptAlone: () => toyModel(embeds),
  step: async (sample, _, timestep) =>
    (sample as Float32Array).map((x) => Math.tanh(x * (0.5 + timestep / 2000)) + 0.1 * x),
  dispose() {},
});

async function sampler({ id, sampler, steps, seed, shape }: SamplerJob): Promise<JobResult> {
  const { manifest } = await bundle;
  const entry = manifest.samplers.find(({ name }) => name === sampler);
  if (!entry) throw new Error(`the bundle has no sampler ${sampler}`);
  const table = tableFor(await loadJson(files, entry.file, "SamplerTables", work), steps);
  const nothing = { data: new Float32Array(1), shape: [1, 1, 1] };
  const latents = await denoise(
    {
      table,
      noise: new NoiseGenerator(seed),
      shape,
      guidanceScale: 1,
      promptEmbeds: nothing,
      negativePromptEmbeds: nothing,
    },
    toyModel,
  );
  return { id, ok: true, output: await sendOutput(id, { latents }) };
}

type BenchJob = NoiseJob | TokensJob | SamplerJob | StepJob;

function run(job: BenchJob): Promise<JobResult> {
  if (job.kind === "noise") return noise(job);
  if (job.kind === "tokens") return tokens(job);
  if (job.kind === "sampler") return sampler(job);
  return step(job);
}

globalThis.onmessage = async ({ data: job }: MessageEvent<BenchJob>) => {
  try {
    globalThis.postMessage(await run(job));
  } catch (thrown) {
    globalThis.postMessage({ id: job.id, ok: false, problem: asProblem(thrown).toWire() });
  }
};
