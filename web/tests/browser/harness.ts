/** The page of parity.mjs: whole runs go through the worker as in the real page. */

import { createWorkerClient, type WorkerClient } from "../../src/worker/client";
import type {
  LoadRequest,
  LoadResult,
  Notice,
  Outcome,
  WireTensor,
} from "../../src/worker/protocol";
import { type GpuEvent, type WatchOrder, watchChannel } from "./gpulog";
import {
  type CallJob,
  type DecodeJob,
  type DenoiseJob,
  type EncodeJob,
  type Job,
  type JobResult,
  type LoadJob,
  places,
  type TextJob,
} from "./jobs";
import { fetchInputs, sendOutput } from "./tensorfile";

const absolute = (path: string) => new URL(path, location.href).href;

/** The worker of the last load, denoise or text job; kept while the providers stay the same. */
let current:
  | { key: string; client: WorkerClient; loaded: Promise<Outcome<LoadResult>> }
  | undefined;

type WorkerJob = CallJob | LoadJob | DenoiseJob | TextJob | DecodeJob | EncodeJob;

function opened(job: WorkerJob, again: boolean) {
  const { providers } = job;
  const watched = job.kind === "denoise" && job.watch !== undefined;
  const key = JSON.stringify([providers, watched]);
  if (again || current?.key !== key) {
    current?.client.terminate();
    const client = createWorkerClient(watched ? watchedWorker() : undefined);
    const request: LoadRequest = {
      manifestUrl: absolute(places.manifest),
      runtimeUrl: absolute(places.runtime),
      ...(providers && { providers }),
    };
    current = { key, client, loaded: client.load(request) };
  }
  return current;
}

const watchedWorker = () =>
  new Worker(new URL("./watched.worker.ts", import.meta.url), { type: "module" });

/** Tells the watched worker what to do, and hears what its GPU was asked for. */
async function watch(order: WatchOrder): Promise<() => Promise<GpuEvent[]>> {
  const channel = new BroadcastChannel(watchChannel);
  const heard = <T>() =>
    new Promise<T>((resolve) => {
      channel.onmessage = ({ data }) => resolve(data);
    });
  const ready = heard();
  channel.postMessage(order);
  await ready;
  const log = heard<GpuEvent[]>();
  return () => log.finally(() => channel.close());
}

async function load(job: LoadJob): Promise<JobResult> {
  const began = performance.now();
  const outcome = await opened(job, true).loaded;
  if (!outcome.ok) return { id: job.id, ...outcome };
  const { report, storage } = outcome.value;
  return { id: job.id, ok: true, report, storage, milliseconds: performance.now() - began };
}

async function denoise(job: DenoiseJob): Promise<JobResult> {
  const { client, loaded } = opened(job, false);
  const load = await loaded;
  if (!load.ok) return { id: job.id, ...load };
  const input = await inputsOf(job.inputs);
  const log = job.watch && (await watch(job.watch));
  const notices: Notice[] = [];
  const controller = new AbortController();
  let steps = 0;
  const outcome = await client.denoise(
    {
      ...job.request,
      ...(job.imageStrength !== undefined && {
        start: { latents: input("start"), strength: job.imageStrength },
      }),
      promptEmbeds: input("prompt_embeds"),
      negativePromptEmbeds: input("negative_prompt_embeds"),
      preview: job.preview ?? true,
    },
    {
      signal: controller.signal,
      onNotice: (notice) => notices.push(notice),
      onStep({ step }) {
        steps = step;
        if (step === job.cancelAfterStep) controller.abort();
      },
    },
  );
  const gpu = await log?.();
  if (!outcome.ok) return { id: job.id, ...outcome, steps };
  const { latents, milliseconds, provider } = outcome.value;
  const { data, shape } = latents;
  const output = await sendOutput(job.id, {
    latents: { data: data as Float32Array<ArrayBuffer>, shape },
  });
  const result = { id: job.id, output, milliseconds, steps, report: provider, notices };
  return { ok: true, ...result, ...(gpu && { gpu }) };
}

async function text(job: TextJob): Promise<JobResult> {
  const { client, loaded } = opened(job, false);
  const load = await loaded;
  if (!load.ok) return { id: job.id, ...load };
  const began = performance.now();
  const outcome = await client.call("encode-text", job.request);
  if (!outcome.ok) return { id: job.id, ...outcome };
  const milliseconds = performance.now() - began;
  const asTensor = ({ data, shape }: WireTensor) => ({
    data: data as Float32Array<ArrayBuffer>,
    shape,
  });
  const output = await sendOutput(job.id, {
    prompt_embeds: asTensor(outcome.value.promptEmbeds),
    negative_prompt_embeds: asTensor(outcome.value.negativePromptEmbeds),
  });
  return { id: job.id, ok: true, output, milliseconds };
}

async function inputsOf(file: string) {
  const inputs = await fetchInputs(file);
  return (name: string) => {
    const tensor = inputs.get(name);
    if (!tensor) throw new Error(`${file} has no ${name}`);
    return tensor;
  };
}

async function decode(job: DecodeJob): Promise<JobResult> {
  const { client, loaded } = opened(job, false);
  const load = await loaded;
  if (!load.ok) return { id: job.id, ...load };
  const latents = (await inputsOf(job.inputs))("latents");
  const began = performance.now();
  const outcome = await client.call("decode-latents", latents, {}, [latents]);
  if (!outcome.ok) return { id: job.id, ...outcome };
  const milliseconds = performance.now() - began;
  const { rgba, width, height } = outcome.value;
  const data = Float32Array.from(rgba);
  const output = await sendOutput(job.id, { rgba: { data, shape: [height, width, 4] } });
  return { id: job.id, ok: true, output, milliseconds };
}

async function encode(job: EncodeJob): Promise<JobResult> {
  const { client, loaded } = opened(job, false);
  const load = await loaded;
  if (!load.ok) return { id: job.id, ...load };
  const { data, shape } = (await inputsOf(job.inputs))("rgba");
  const [height = 0, width = 0] = shape;
  const rgba = Uint8ClampedArray.from(data);
  const outcome = await client.call("encode-image", { rgba, width, height });
  if (!outcome.ok) return { id: job.id, ...outcome };
  const encoded = outcome.value as WireTensor & { data: Float32Array<ArrayBuffer> };
  return { id: job.id, ok: true, output: await sendOutput(job.id, { encoded }) };
}

async function call(job: CallJob): Promise<JobResult> {
  const { client, loaded } = opened(job, false);
  const load = await loaded;
  if (!load.ok) return { id: job.id, ...load };
  const began = performance.now();
  let { request } = job;
  if (job.file !== undefined) {
    const response = await fetch(places.inputs + encodeURIComponent(job.file));
    request = { ...(request as object), bytes: await response.blob() };
  }
  // The job's author knows what the call takes.
  const outcome = await client.call(job.call, request as never);
  if (!outcome.ok) return { id: job.id, ...outcome };
  const milliseconds = performance.now() - began;
  return { id: job.id, ok: true, value: outcome.value, milliseconds };
}

let bench: Worker | undefined;

/** Noise and single steps run on the engine's parts, in a worker of their own. */
function onBench(job: Job): Promise<JobResult> {
  bench ??= new Worker(new URL("./bench.worker.ts", import.meta.url), { type: "module" });
  const worker = bench;
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(job);
  });
}

async function runJob(job: Job): Promise<JobResult> {
  try {
    if (job.kind === "load") return await load(job);
    if (job.kind === "denoise") return await denoise(job);
    if (job.kind === "text") return await text(job);
    if (job.kind === "decode") return await decode(job);
    if (job.kind === "encode") return await encode(job);
    if (job.kind === "call") return await call(job);
    return await onBench(job);
  } catch (thrown) {
    return { id: job.id, ok: false, problem: { code: "internal", message: String(thrown) } };
  }
}

declare global {
  interface Window {
    runJob?: typeof runJob;
  }
}
window.runJob = runJob;
