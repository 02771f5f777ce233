/**
 * What golden vectors said at earlier visits, so that a graph known to compute wrongly costs neither
 * its download nor its compilation again. On a GPU the one that passed is still checked at each load:
 * drivers change, and the step compiles shaders that are needed anyway. On WebAssembly the same code
 * computes the same again, and a visit begins a step sooner.
 */

import type { DBSchema, IDBPDatabase } from "idb";
import type { UNetVariant } from "../bundle/manifest.gen";
import type { LoadRequest } from "../worker/protocol";
import { openDatabase } from "./database";
import type { Candidate } from "./providers";
import { ORT_VERSION } from "./runtimes";
import type { Measured, OpenVariant } from "./variants";

/** A candidate in words: provider, threads, precision, attention. */
type Way = string;

interface Results {
  passed: Way;
  measured: Measured;
  /** Measured too far from PyTorch; no other failure is kept, since the next visit may be luckier. */
  failed: { way: Way; reason: string }[];
}

/** What is remembered of one variant on this device. */
export class Memory {
  private constructor(
    private readonly key: string | undefined,
    private results: Results | undefined,
    /** Whether the order of candidates is the caller's, to be kept. */
    private readonly ordered: boolean,
  ) {}

  /**
   * @param identity browser and GPU; another one, or another bundle or onnxruntime, is new
   * @param wanted the providers that were asked for, which have a memory of their own
   */
  static async of(
    identity: string,
    variant: UNetVariant,
    wanted?: LoadRequest["providers"],
  ): Promise<Memory> {
    if (!variant.golden) return new Memory(undefined, undefined, true);
    const hashes = variant.graphs.flatMap(({ prepare, file, shortcut, shards }) => [
      prepare.sha256,
      file.sha256,
      shortcut?.sha256,
      ...shards,
    ]);
    const all = [identity, wanted, ORT_VERSION, variant.golden.file.sha256, hashes];
    const key = JSON.stringify(all);
    return new Memory(key, await recall(key), wanted !== undefined);
  }

  /** First who passed; last who failed, should all others fail this time. */
  arrange(candidates: readonly Candidate[]): Candidate[] {
    if (this.ordered) return [...candidates];
    const rank = (one: Candidate) =>
      wayOf(one) === this.results?.passed ? 0 : this.reasonOf(one) ? 2 : 1;
    return [...candidates].sort((a, b) => rank(a) - rank(b));
  }

  /** What an earlier visit measured of a candidate that computes the same ever since. */
  measured(candidate: Candidate): Measured | undefined {
    const passed = wayOf(candidate) === this.results?.passed;
    return passed && candidate.provider === "wasm" ? this.results?.measured : undefined;
  }

  /** Notes how a variant was opened, and tells in its report whom memory has ruled out. */
  async learn({ candidate, wrong, report }: OpenVariant): Promise<void> {
    if (!this.key) return;
    const passed = wayOf(candidate);
    const now = wrong.map(({ candidate, reason }) => ({ way: wayOf(candidate), reason }));
    const known = new Set([passed, ...now.map(({ way }) => way)]);
    const earlier = this.results?.failed.filter(({ way }) => !known.has(way)) ?? [];
    for (const { way, reason } of earlier) {
      const [provider, , compute] = way.split(" ") as [string, string, string];
      report.refused.push({ provider, compute, reason: `${reason} (found at an earlier visit)` });
    }
    const { error, tolerance } = report;
    this.results = { passed, measured: { error, tolerance }, failed: [...earlier, ...now] };
    await keep(this.key, this.results);
  }

  private reasonOf(candidate: Candidate): string | undefined {
    return this.results?.failed.find(({ way }) => way === wayOf(candidate))?.reason;
  }
}

function wayOf({ provider, threads, graph }: Candidate): Way {
  return [provider, threads, graph.compute, graph.attention].join(" ");
}

interface Schema extends DBSchema {
  results: { key: string; value: Results };
}

let opening: Promise<IDBPDatabase<Schema> | undefined> | undefined;

function database(): Promise<IDBPDatabase<Schema> | undefined> {
  opening ??= openDatabase<Schema>("brushlet-providers", (created) => {
    created.createObjectStore("results");
  });
  return opening;
}

/** Where a browser keeps nothing (private windows), every visit is the first: slower, not wrong. */
async function recall(key: string): Promise<Results | undefined> {
  try {
    return await (await database())?.get("results", key);
  } catch {
    return undefined;
  }
}

/** As `recall`. */
async function keep(key: string, results: Results): Promise<void> {
  try {
    await (await database())?.put("results", results, key);
  } catch {
    // the next visit tries all candidates again
  }
}
