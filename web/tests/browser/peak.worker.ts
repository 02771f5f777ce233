/** Loads shards and creates sessions as the engine does, one phase at a time. */

import type { FileRef } from "../../src/bundle/manifest.gen";
import { Files, startWork } from "../../src/engine/downloads";
import { openManifest } from "../../src/engine/manifest";
import { loadRuntime } from "../../src/engine/runtimes";
import type { Shard } from "../../src/engine/shards";
import { chooseStore } from "../../src/engine/stores";
import { UNet } from "../../src/engine/unet";

const at = (path: string) => new URL(path, location.origin).href;
const fetched = async (name: string) => fetch(at(`/standins/${name}`));
let files: Files;
let refs: FileRef[];

const phases = {
  async shards({ memory }: { memory: boolean }): Promise<string> {
    const manifestUrl = at("/bundle/manifest.json");
    files = new Files(manifestUrl, memory ? undefined : await chooseStore());
    await files.register((await openManifest(manifestUrl)).manifest);
    refs = await (await fetched("shards.json")).json();
    let last = "";
    const work = startWork({
      onProgress: ({ storedBytes, loadedBytes, totalBytes }) => {
        last = `${loadedBytes / 1e6} of ${totalBytes / 1e6} MB, ${storedBytes / 1e6} MB stored`;
      },
    });
    await files.plan(refs, work);
    await files.reading(async () => {
      for (const ref of refs) await files.shard(ref, work);
    });
    return `${files.kept.kind}, ${last}`;
  },

  async sessions(): Promise<string> {
    return files.reading(() => create());
  },
};

async function create(): Promise<string> {
  const shards: Shard[] = [];
  for (const ref of refs)
    shards.push({ name: ref.url, bytes: await files.shard(ref, startWork({})) });
  files.checked();
  const bytes = async (name: string) => new Uint8Array(await (await fetched(name)).arrayBuffer());
  const graph = {
    prepare: await bytes("prepare.onnx"),
    step: await bytes("step.onnx"),
    shortcut: await bytes("shortcut.onnx"),
  };
  const ort = await loadRuntime("wasm", 1, at("/ort/"));
  await UNet.create(ort, "wasm", graph, shards);
  return "created";
}

self.onmessage = async ({ data }) => {
  try {
    const told = await phases[data.phase as keyof typeof phases](data);
    self.postMessage({ told });
  } catch (thrown) {
    self.postMessage({ error: String(thrown) });
  }
};
