/** Sessions of the graphs beside the UNet: on WebAssembly, whatever runs the UNet. */

import type { InferenceSession } from "onnxruntime-web";
import type { Graph } from "../bundle/manifest.gen";
import type { Work } from "./downloads";
import { isLost } from "./mounts";
import { EngineProblem, messageOf, stopIfAborted } from "./problems";
import { loadRuntime, type Ort } from "./runtimes";
import { externalData, mountShards, type Shard, shardsOf } from "./shards";
import type { BundleParts } from "./variants";

export interface WasmSession {
  ort: Ort;
  session: InferenceSession;
}

/**
 * @param name for messages
 * @param threads CPU threads; one where more do not start
 * @throws EngineProblem `network`, `damaged`, `cancelled`, or `no-provider` when it cannot be run
 */
export async function openOnWasm(
  parts: BundleParts,
  name: string,
  graph: Graph,
  threads: number,
  work: Work,
): Promise<WasmSession> {
  const { manifest, files, runtimeUrl } = parts;
  await files.plan([...shardsOf(manifest, graph), graph.file], work);
  return files.reading(async () => {
    const bytes = await files.get(graph.file, "graphs", work);
    let reason = "";
    for (const count of new Set([threads, 1])) {
      // Twice where the browser evicts a shard on the way, which is no fault of the threads.
      for (let evicted = true, tries = 0; evicted && tries < 2; tries++) {
        const shards = await mountShards(parts, graph, work);
        stopIfAborted(work.signal);
        try {
          return await start(bytes, shards, count, runtimeUrl);
        } catch (thrown) {
          reason = messageOf(thrown);
        }
        evicted = shards.some((shard) => isLost(shard.bytes));
      }
    }
    const message = `This browser cannot run the ${name} (${reason}). Close other tabs, or let a server do it.`;
    throw new EngineProblem("no-provider", message, graph.file.url);
  });
}

async function start(
  graph: Uint8Array,
  shards: readonly Shard[],
  threads: number,
  runtimeUrl: string,
): Promise<WasmSession> {
  const ort = await loadRuntime("wasm", threads, runtimeUrl);
  const session = await ort.InferenceSession.create(graph, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
    externalData: externalData(shards),
  });
  return { ort, session };
}
