/** The weights of a graph, as a session takes them. */

import type { FileRef, Graph, Manifest } from "../bundle/manifest.gen";
import type { Files, Work } from "./downloads";
import { EngineProblem } from "./problems";

/** A shard as onnxruntime looks it up: by the file name that the graph gives. */
export interface Shard {
  name: string;
  bytes: Uint8Array;
}

/** The shards that a graph reads. @throws EngineProblem `manifest` when one is not listed */
export function shardsOf({ shards }: Manifest, graph: Pick<Graph, "file" | "shards">): FileRef[] {
  return graph.shards.map((key) => {
    const file = shards[key];
    if (file) return file;
    const message = `${graph.file.url} needs the shard ${key}, which the manifest does not list.`;
    throw new EngineProblem("manifest", message, key);
  });
}

/** @throws EngineProblem as `Files.shard` */
export async function mountShards(
  { manifest, files }: { manifest: Manifest; files: Files },
  graph: Pick<Graph, "file" | "shards">,
  work: Work,
): Promise<Shard[]> {
  const shards: Shard[] = [];
  for (const file of shardsOf(manifest, graph)) {
    const bytes = await files.shard(file, work);
    shards.push({ name: file.url.split("/").at(-1) as string, bytes });
  }
  files.checked();
  return shards;
}

/** In onnxruntime's words. */
export function externalData(shards: readonly Shard[]): { path: string; data: Uint8Array }[] {
  return shards.map(({ name, bytes }) => ({ path: name, data: bytes }));
}
