/** One picture: words to embeddings, denoising in the worker, latents to a PNG. */

import type { Manifest } from "../bundle/manifest.gen";
import { EngineProblem, untilAborted } from "../engine/problems";
import type { WorkerClient } from "../worker/client";
import type { LoadProgress, Notice, StepReport, WireTensor } from "../worker/protocol";
import { type Codec, copyOf, type Embeddings } from "./codec";
import { resultOf } from "./here";
import { type Picture, pictureOf } from "./picture";
import { fitted, type PictureSource } from "./pixels";
import type { Server } from "./server";
import { type PictureSpec, textStylesOf } from "./spec";

export type Phase =
  | { name: "reading" }
  | ({ name: "fetching" } & LoadProgress) // something that was not there yet
  | ({ name: "drawing" } & StepReport)
  | { name: "developing" };

/** What a spec is carried out with. */
export interface Tools {
  manifest: Manifest;
  worker: WorkerClient;
  codec: Codec;
  memory: Memory;
}

/** The last words, the last picture to begin with, and what they became: most pictures repeat them. */
export interface Memory {
  /** By the words, with the styles that read them; a few, for hands that go to and fro. */
  embeddings: Map<string, Embeddings>;
  start?: { source: PictureSource; size: string; latents: WireTensor };
}

export interface PaintHooks {
  onPhase(phase: Phase): void;
  /** Whether each step shows its picture. */
  preview: boolean;
  signal: AbortSignal;
}

/** @throws EngineProblem, or the signal's AbortError */
export async function paint(spec: PictureSpec, tools: Tools, hooks: PaintHooks): Promise<Picture> {
  const { worker, codec } = tools;
  const { onPhase, preview, signal } = hooks;
  signal.throwIfAborted();
  const onProgress = (progress: LoadProgress) => onPhase({ name: "fetching", ...progress });
  const embeddings = await read(spec, tools, hooks, onProgress);
  const start = spec.image && (await startFrom(spec, tools, hooks, onProgress));
  const notices: Notice[] = [];
  const outcome = await worker.denoise(
    {
      promptEmbeds: copyOf(embeddings.promptEmbeds),
      negativePromptEmbeds: copyOf(embeddings.negativePromptEmbeds),
      styles: spec.styles.map(({ name, strength }) => ({ name, strength })),
      seed: spec.seed,
      steps: spec.steps,
      guidanceScale: spec.guidance,
      sampler: spec.sampler,
      height: spec.height,
      width: spec.width,
      preview,
      ...(spec.guidanceRange && { guidanceRange: spec.guidanceRange }),
      ...(spec.cacheInterval && { cacheInterval: spec.cacheInterval }),
      ...(start && { start }),
    },
    {
      onStep: (step) => onPhase({ name: "drawing", ...step }),
      onNotice: (notice) => notices.push(notice),
      onProgress,
      signal,
    },
  );
  const { latents, milliseconds, provider } = resultOf(outcome);
  onPhase({ name: "developing" });
  // The worker cannot stop within a decode: nobody waits for it.
  const developed = await untilAborted(codec.decode(latents, signal, onProgress), signal);
  const { seed } = spec;
  const facts = { seed, latents, milliseconds, provider, notices };
  return pictureOf(developed, sizeOf(spec, tools), facts);
}

/** The whole picture on a server. */
export async function paintRemotely(
  spec: PictureSpec,
  { manifest, server }: { manifest: Manifest; server: Server },
  { onPhase, signal }: PaintHooks,
): Promise<Picture> {
  signal.throwIfAborted();
  if (spec.embeddings || spec.image) {
    const what = spec.image ? "image" : "embeddings";
    const message = `The server draws from words alone, because this device cannot: leave out ${what}.`;
    throw new EngineProblem("request", message, what);
  }
  onPhase({ name: "developing" });
  const began = performance.now();
  const size = sizeOf(spec, { manifest });
  const { prompt, negativePrompt, clipSkip, guidanceRange, cacheInterval, ...rest } = spec;
  const { seed, steps, guidance, sampler } = rest;
  const reads = new Set(textStylesOf(manifest, spec).map(({ name }) => name));
  const styles = spec.styles.map(({ name, strength, te }) => ({
    name,
    strength,
    ...(reads.has(name) && { te }),
  }));
  const png = await server.generate(
    {
      ...{ prompt, negativePrompt, clipSkip, styles, seed, steps, guidance, sampler, ...size },
      ...(guidanceRange && { guidanceRange }),
      ...(cacheInterval && { cacheInterval }),
    },
    signal,
  );
  const milliseconds = performance.now() - began;
  return pictureOf(png, size, { seed, milliseconds, notices: [] });
}

/** How many words are remembered; some 0.5 MB each with Stable Diffusion 1. */
const WORDS = 8;

/** Words to embeddings, or what they were before. @throws as `Codec.encode` */
export async function read(
  spec: PictureSpec,
  { manifest, codec, memory }: Pick<Tools, "manifest" | "codec" | "memory">,
  { onPhase, signal }: Pick<PaintHooks, "onPhase" | "signal">,
  onProgress?: (progress: LoadProgress) => void,
): Promise<Embeddings> {
  if (spec.embeddings) return spec.embeddings;
  const { prompt, negativePrompt, clipSkip } = spec;
  const styles = textStylesOf(manifest, spec);
  const words = JSON.stringify([prompt, negativePrompt, clipSkip, styles]);
  const known = memory.embeddings.get(words);
  if (known) return known;
  onPhase({ name: "reading" });
  const asked = { prompt, negativePrompt, styles, ...(clipSkip && { clipSkip }) };
  const embeddings = await codec.encode(asked, signal, onProgress);
  memory.embeddings.set(words, embeddings);
  for (const oldest of [...memory.embeddings.keys()].slice(0, -WORDS)) {
    memory.embeddings.delete(oldest);
  }
  return embeddings;
}

async function startFrom(
  spec: PictureSpec,
  tools: Tools,
  { onPhase, signal }: PaintHooks,
  onProgress: (progress: LoadProgress) => void,
): Promise<{ latents: WireTensor; strength: number } | undefined> {
  if (!spec.image) return undefined;
  const { source, strength } = spec.image;
  const { width, height } = sizeOf(spec, tools);
  const { memory, codec } = tools;
  const size = `${width}x${height}`;
  if (memory.start?.source !== source || memory.start.size !== size) {
    onPhase({ name: "reading" });
    const picture = await fitted(source, width, height);
    memory.start = { source, size, latents: await codec.encodeImage(picture, signal, onProgress) };
  }
  return { latents: memory.start.latents, strength };
}

/** In pixels. */
function sizeOf({ width, height }: PictureSpec, { manifest }: Pick<Tools, "manifest">) {
  const { vae_scale } = manifest.model;
  return { width: width * vae_scale, height: height * vae_scale };
}
