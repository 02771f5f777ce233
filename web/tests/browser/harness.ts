/** The page of parity.mjs: whole runs go through the worker as in the real page. */

import { createWorkerClient, type WorkerClient } from "../../src/worker/client";
import type { LoadRequest, Outcome, ProviderReport } from "../../src/worker/protocol";
import { type DenoiseJob, type Job, type JobResult, type LoadJob, places } from "./jobs";
import { fetchInputs, sendOutput } from "./tensorfile";

const absolute = (path: string) => new URL(path, location.href).href;

/** The worker of the last load or denoise job; kept while the providers stay the same. */
let current:
  | { key: string; client: WorkerClient; loaded: Promise<Outcome<ProviderReport>> }
  | undefined;

function opened({ providers }: LoadJob | DenoiseJob, again: boolean) {
  const key = JSON.stringify(providers ?? null);
  if (again || current?.key !== key) {
    current?.client.terminate();
    const client = createWorkerClient();
    const request: LoadRequest = {
      manifestUrl: absolute(places.manifest),
      runtimeUrl: absolute(places.runtime),
      ...(providers && { providers }),
    };
    current = { key, client, loaded: client.load(request) };
  }
  return current;
}

async function load(job: LoadJob): Promise<JobResult> {
  const began = performance.now();
  const outcome = await opened(job, true).loaded;
  if (!outcome.ok) return { id: job.id, ...outcome };
  return { id: job.id, ok: true, report: outcome.value, milliseconds: performance.now() - began };
}

async function denoise(job: DenoiseJob): Promise<JobResult> {
  const { client, loaded } = opened(job, false);
  const load = await loaded;
  if (!load.ok) return { id: job.id, ...load };
  const inputs = await fetchInputs(job.inputs);
  const embeds = (name: string) => {
    const tensor = inputs.get(name);
    if (!tensor) throw new Error(`${job.inputs} has no ${name}`);
    return tensor;
  };
  const controller = new AbortController();
  let steps = 0;
  const outcome = await client.denoise(
    {
      ...job.request,
      promptEmbeds: embeds("prompt_embeds"),
      negativePromptEmbeds: embeds("negative_prompt_embeds"),
      preview: true,
    },
    {
      signal: controller.signal,
      onStep({ step }) {
        steps = step;
        if (step === job.cancelAfterStep) controller.abort();
      },
    },
  );
  if (!outcome.ok) return { id: job.id, ...outcome, steps };
  const { latents, milliseconds, provider } = outcome.value;
  const { data, shape } = latents;
  const output = await sendOutput(job.id, {
    latents: { data: data as Float32Array<ArrayBuffer>, shape },
  });
  return { id: job.id, ok: true, output, milliseconds, steps, report: provider ?? load.value };
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
