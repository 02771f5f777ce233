/** One picture: words to embeddings on the server, denoising in the worker, latents to PNG. */

import type { Model } from "../bundle/manifest.gen";
import type { WorkerClient } from "../worker/client";
import type { LoadProgress, StepReport, WireTensor } from "../worker/protocol";
import type { Order } from "./order";
import { Trouble } from "./problem";
import type { Embeddings, Server } from "./server";

export type Phase =
  | { name: "reading" }
  | ({ name: "fetching" } & LoadProgress) // a style that was not there yet
  | ({ name: "drawing" } & StepReport)
  | { name: "developing" };

export interface Painted {
  png: Blob;
  milliseconds: number;
  /** Tokens of the prompts that were not read. */
  cut: number;
}

/** The last words and what they became: a moved slider must not ask the server again. */
export interface Memory {
  words?: string;
  embeddings?: Embeddings;
}

/** The worker takes a tensor's buffer away with it, so it is given a copy. */
const copy = ({ data, shape }: WireTensor): WireTensor => ({
  data: data.slice(),
  shape: [...shape],
});

/** Paints `order`; throws a Trouble, or the signal's AbortError. */
export async function draw(
  order: Order,
  tools: { worker: WorkerClient; server: Server; model: Model; memory: Memory },
  onPhase: (phase: Phase) => void,
  signal: AbortSignal,
): Promise<Painted> {
  signal.throwIfAborted();
  const { worker, server, model, memory } = tools;
  const { prompt, negativePrompt } = order;
  const words = JSON.stringify([prompt, negativePrompt]);
  let embeddings = memory.words === words ? memory.embeddings : undefined;
  if (!embeddings) {
    onPhase({ name: "reading" });
    embeddings = await server.encode({ prompt, negativePrompt }, signal);
    Object.assign(memory, { words, embeddings });
  }
  const outcome = await worker.denoise(
    {
      promptEmbeds: copy(embeddings.promptEmbeds),
      negativePromptEmbeds: copy(embeddings.negativePromptEmbeds),
      styles: order.styles,
      seed: order.seed,
      steps: order.steps,
      guidanceScale: order.guidance,
      sampler: order.sampler,
      height: model.sample_size,
      width: model.sample_size,
      preview: true,
    },
    {
      onStep: (step) => onPhase({ name: "drawing", ...step }),
      onProgress: (progress) => onPhase({ name: "fetching", ...progress }),
      signal,
    },
  );
  if (!outcome.ok) throw new Trouble(outcome.problem);
  onPhase({ name: "developing" });
  const png = await server.decode(outcome.value.latents, signal);
  return { png, milliseconds: outcome.value.milliseconds, cut: embeddings.cut };
}
