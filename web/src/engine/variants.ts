/** Opens a UNet variant on the first execution provider that passes its golden vector. */

import type {
  FileRef,
  Golden,
  Manifest,
  Slot,
  UNetGraph,
  UNetVariant,
} from "../bundle/manifest.gen";
import type { ProviderReport } from "../worker/protocol";
import type { Files, Work } from "./downloads";
import { type GoldenStep, goldenLora, measureError, readGolden, toleranceOf } from "./golden";
import { isLost } from "./mounts";
import { EngineProblem, messageOf, stopIfAborted } from "./problems";
import type { Candidate, Refusal } from "./providers";
import { loadRuntime } from "./runtimes";
import type { Tensor } from "./safetensors";
import { mountShards, type Shard, shardsOf } from "./shards";
import { type GraphBytes, UNet } from "./unet";

/** A variant ready to denoise, and how far its provider is from PyTorch. */
export interface OpenVariant {
  variant: UNetVariant;
  unet: UNet;
  candidate: Candidate;
  report: ProviderReport;
  /** Candidates that were measured too far from PyTorch on the way. */
  wrong: { candidate: Candidate; reason: string }[];
}

export interface BundleParts {
  manifest: Manifest;
  slots: readonly Slot[];
  files: Files;
  /** Folder with onnxruntime-web's files. */
  runtimeUrl: string;
}

/** Which candidate passed, and how well. */
export type Passed = Pick<OpenVariant, "candidate" | "report">;

/** What a golden vector said. */
export type Measured = Pick<ProviderReport, "error" | "tolerance">;

/** A golden vector, ready to be tried. */
interface Check {
  golden: Golden;
  step: GoldenStep;
  lora: ReadonlyMap<string, Tensor>;
}

/**
 * @param refused what was ruled out before, for the report
 * @param known what was measured of a candidate before; the only ones that are taken where the
 *   variant has no golden vector
 * @throws EngineProblem `no-provider` with each candidate's reason; as `fetchFile`; `cancelled`
 */
export async function openVariant(
  parts: BundleParts,
  variant: UNetVariant,
  candidates: readonly Candidate[],
  refused: readonly Refusal[],
  work: Work,
  known: (candidate: Candidate) => Measured | undefined,
): Promise<OpenVariant> {
  const { files } = parts;
  const { tally, signal } = work;
  const golden = variant.golden ?? undefined;
  const order = golden ? candidates : candidates.filter((one) => known(one));
  const first = order[0];
  const wanted = first ? [...shardsOf(parts.manifest, first.graph), ...graphFiles(first)] : [];
  const tries = golden && first && !known(first);
  await files.plan(tries ? [...wanted, golden.file] : wanted, work);

  const refusals = [...refused];
  const wrong: OpenVariant["wrong"] = [];
  let reading: Promise<Check> | undefined;
  for (const candidate of order) {
    const before = known(candidate);
    if (golden && !before) reading ??= readCheck(parts, golden, variant, work);
    const check = before ? undefined : await reading;
    let shards = await mountShards(parts, candidate.graph, work);
    const graph = await graphBytes(parts, candidate.graph, work);
    stopIfAborted(signal);
    tally.report("checking", describe(candidate));
    let tried = await tryCandidate(parts, candidate, graph, shards, check);
    if ("reason" in tried && shards.some(({ bytes }) => isLost(bytes))) {
      // The browser evicted what it had stored: no fault of the provider's.
      shards = await mountShards(parts, candidate.graph, work);
      tried = await tryCandidate(parts, candidate, graph, shards, check);
    }
    if ("unet" in tried) {
      const { provider, threads, graph } = candidate;
      const tolerance = golden ? toleranceOf(golden, graph.compute) : 0;
      const measured = before ?? { error: tried.error, tolerance };
      const report = { provider, compute: graph.compute, threads, ...measured, refused: refusals };
      return { variant, unet: tried.unet, candidate, report, wrong };
    }
    const { reason } = tried;
    refusals.push({ provider: candidate.provider, compute: candidate.graph.compute, reason });
    if (tried.wrong) wrong.push({ candidate, reason });
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
  candidate: Candidate,
  graph: GraphBytes,
  shards: readonly Shard[],
  check: Check | undefined,
): Promise<{ unet: UNet; error: number } | { reason: string; wrong: boolean }> {
  const { provider, threads } = candidate;
  let unet: UNet | undefined;
  try {
    const runtime = await loadRuntime(provider, threads, runtimeUrl);
    unet = await UNet.create(runtime, provider, graph, shards);
    if (!check) return { unet, error: 0 };
    const error = await measureError(unet, check.step, check.lora);
    const tolerance = toleranceOf(check.golden, candidate.graph.compute);
    if (error <= tolerance) return { unet, error };
    await unet.release();
    const figures = `${error.toExponential(1)} from PyTorch, allowed ${tolerance.toExponential(1)}`;
    return { reason: `${candidate.graph.attention} attention is ${figures}`, wrong: true };
  } catch (thrown) {
    await unet?.release().catch(() => {}); // the session that failed may fail to end, too
    return { reason: messageOf(thrown), wrong: false };
  }
}

async function readCheck(
  { files, slots }: BundleParts,
  golden: Golden,
  variant: UNetVariant,
  work: Work,
): Promise<Check> {
  const step = readGolden(await files.get(golden.file, "checking", work), golden);
  return { golden, step, lora: variant.slots ? goldenLora(golden, slots) : new Map() };
}

/** Whether two candidates compute the same way: provider, threads, precision and attention. */
export function sameWay(a: Candidate, b: Candidate): boolean {
  return (
    a.provider === b.provider &&
    a.threads === b.threads &&
    a.graph.compute === b.graph.compute &&
    a.graph.attention === b.graph.attention
  );
}

function graphFiles({ graph }: Candidate): FileRef[] {
  return [graph.prepare, graph.file, graph.shortcut];
}

/** @throws EngineProblem as `Files.get` */
export async function graphBytes(
  { files }: Pick<BundleParts, "files">,
  graph: UNetGraph,
  work: Work,
): Promise<GraphBytes> {
  const get = (file: FileRef) => files.get(file, "graphs", work);
  return {
    prepare: await get(graph.prepare),
    step: await get(graph.file),
    shortcut: await get(graph.shortcut),
  };
}

function describe({ provider, threads, graph }: Candidate): string {
  const on = provider === "wasm" ? `${provider}, threads ${threads}` : provider;
  return `${graph.compute} ${graph.attention} on ${on}`;
}
