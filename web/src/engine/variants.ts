/** Opens a UNet variant on the first execution provider that passes its golden vector. */

import type { FileRef, Manifest, Slot, UNetVariant } from "../bundle/manifest.gen";
import type { ProviderReport } from "../worker/protocol";
import type { Files, Work } from "./downloads";
import { type GoldenStep, goldenLora, measureError, readGolden, toleranceOf } from "./golden";
import { EngineProblem, messageOf, stopIfAborted } from "./problems";
import type { Candidate, Refusal } from "./providers";
import { loadRuntime } from "./runtimes";
import type { Tensor } from "./safetensors";
import { type Shard, UNet } from "./unet";

/** A variant ready to denoise, and how far its provider is from PyTorch. */
export interface OpenVariant {
  variant: UNetVariant;
  unet: UNet;
  candidate: Candidate;
  report: ProviderReport;
}

export interface BundleParts {
  manifest: Manifest;
  slots: readonly Slot[];
  files: Files;
  /** Folder with onnxruntime-web's files. */
  runtimeUrl: string;
}

/**
 * @param refused what was ruled out before, for the report
 * @throws EngineProblem `no-provider` with each candidate's reason; as `fetchFile`; `cancelled`
 */
export async function openVariant(
  parts: BundleParts,
  variant: UNetVariant,
  candidates: readonly Candidate[],
  refused: readonly Refusal[],
  work: Work,
): Promise<OpenVariant> {
  const { files, slots } = parts;
  const { tally, signal } = work;
  const first = candidates[0];
  const wanted = first ? [...shardFiles(parts.manifest, first), first.graph.file] : [];
  tally.plan(files.missing([...wanted, variant.golden.file]));

  const refusals = [...refused];
  const goldenFile = await files.get(variant.golden.file, "checking", work);
  const step = readGolden(goldenFile, variant.golden);
  const lora = variant.slots ? goldenLora(variant.golden, slots) : new Map<string, Tensor>();
  for (const candidate of candidates) {
    const shards: Shard[] = [];
    for (const file of shardFiles(parts.manifest, candidate)) {
      const bytes = await files.get(file, "shards", work);
      shards.push({ name: file.url.split("/").at(-1) as string, bytes });
    }
    const graph = await files.get(candidate.graph.file, "graphs", work);
    stopIfAborted(signal);
    tally.report("checking", describe(candidate));
    const tried = await tryCandidate(parts, variant, candidate, graph, shards, step, lora);
    if ("unet" in tried) {
      const { provider, threads, graph } = candidate;
      const tolerance = toleranceOf(variant.golden, graph.compute);
      const report = { provider, compute: graph.compute, threads, error: tried.error, tolerance };
      return { variant, unet: tried.unet, candidate, report: { ...report, refused: refusals } };
    }
    const {
      provider,
      graph: { compute },
    } = candidate;
    refusals.push({ provider, compute, reason: tried.reason });
  }
  const reasons = refusals.map(
    ({ provider, compute, reason }) => `${provider} ${compute}: ${reason}`,
  );
  throw new EngineProblem(
    "no-provider",
    `No execution provider of this browser computes ${variant.name} correctly. ${reasons.join("; ")}.`,
    variant.name,
  );
}

async function tryCandidate(
  { runtimeUrl }: BundleParts,
  variant: UNetVariant,
  candidate: Candidate,
  graph: Uint8Array,
  shards: readonly Shard[],
  step: GoldenStep,
  lora: ReadonlyMap<string, Tensor>,
): Promise<{ unet: UNet; error: number } | { reason: string }> {
  const { provider, threads } = candidate;
  let unet: UNet | undefined;
  try {
    const runtime = await loadRuntime(provider, threads, runtimeUrl);
    unet = await UNet.create(runtime, provider, graph, shards);
    const error = await measureError(unet, step, lora);
    const tolerance = toleranceOf(variant.golden, candidate.graph.compute);
    if (error <= tolerance) return { unet, error };
    await unet.release();
    const figures = `${error.toExponential(1)} from PyTorch, allowed ${tolerance.toExponential(1)}`;
    return { reason: `${candidate.graph.attention} attention is ${figures}` };
  } catch (thrown) {
    await unet?.release().catch(() => {}); // the session that failed may fail to end, too
    return { reason: messageOf(thrown) };
  }
}

function shardFiles({ shards }: Manifest, { graph }: Candidate): FileRef[] {
  return graph.shards.map((key) => {
    const file = shards[key];
    if (file) return file;
    const message = `${graph.file.url} needs the shard ${key}, which the manifest does not list.`;
    throw new EngineProblem("manifest", message, key);
  });
}

function describe({ provider, threads, graph }: Candidate): string {
  const on = provider === "wasm" ? `${provider}, threads ${threads}` : provider;
  return `${graph.compute} ${graph.attention} on ${on}`;
}
