import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { FileRef } from "../../src/bundle/manifest.gen";
import { Files, startWork } from "../../src/engine/downloads";
import { MemoryStore } from "../../src/engine/memorystore";
import { type BundleRecord, recordOf } from "../../src/engine/records";
import type { LoadProgress } from "../../src/worker/protocol";
import { fakeManifest, mixedManifest } from "../manifest";

/** What OPFS is to a worker, which Node has not: it outlives the Files that use it. */
class Disk extends MemoryStore {
  override readonly kind = "opfs" as never;
  kept = new Map<string, BundleRecord>();

  override async read(sha256: string) {
    const bytes = await super.read(sha256);
    return bytes && (new Blob([bytes]) as never);
  }

  async alter(sha256: string) {
    const bytes = await super.read(sha256);
    if (bytes) bytes[500] = 9;
  }

  override async records() {
    return [...this.kept.values()] as never;
  }
  override async writeRecord(record?: BundleRecord) {
    if (record) this.kept.set(record.manifestUrl, record);
  }
}

const contents = new Map<string, Uint8Array<ArrayBuffer>>();
const put = (url: string, fill: number): FileRef => {
  const bytes = new Uint8Array(1000).fill(fill);
  contents.set(url, bytes);
  return { url, bytes: 1000, sha256: createHash("sha256").update(bytes).digest("hex") };
};
const one = put("one.bin", 1);
const two = put("two.bin", 2);

let disk: Disk;
let asked: string[];
let estimate: StorageEstimate;
beforeEach(() => {
  disk = new Disk();
  asked = [];
  estimate = { quota: 1e9, usage: 0 };
  vi.stubGlobal("navigator", { storage: { estimate: async () => estimate } });
  vi.stubGlobal("fetch", async (url: string) => {
    const name = url.replace("http://host/", "");
    asked.push(name);
    return new Response(contents.get(name)?.slice());
  });
});
afterEach(() => vi.unstubAllGlobals());

const visit = () => new Files("http://host/manifest.json", { store: disk });

async function take(files: Files, refs: FileRef[]): Promise<LoadProgress> {
  let last: LoadProgress | undefined;
  const work = startWork({ onProgress: (progress) => (last = progress) });
  await files.plan(refs, work);
  for (const ref of refs) {
    expect(await files.get(ref, "shards", work)).toEqual(contents.get(ref.url));
  }
  return last as LoadProgress;
}

test("the second visit downloads nothing, and says so", async () => {
  const first = await take(visit(), [one, two]);
  expect(first).toMatchObject({ loadedBytes: 2000, totalBytes: 2000, storedBytes: 0 });
  expect(first.storage).toBe("opfs");
  asked = [];
  const second = await take(visit(), [one, two]);
  expect(second).toMatchObject({ loadedBytes: 2000, totalBytes: 2000, storedBytes: 2000 });
  expect(second.bytesPerSecond).toBeUndefined();
  expect(asked).toEqual([]);
});

test("of stored files a damaged one is fetched again, alone, and stored", async () => {
  await take(visit(), [one, two]);
  await disk.alter(one.sha256);
  asked = [];
  const last = await take(visit(), [one, two]);
  expect(asked).toEqual(["one.bin"]);
  expect(last).toMatchObject({ loadedBytes: 2000, totalBytes: 2000, storedBytes: 1000 });
  asked = [];
  await take(visit(), [one, two]);
  expect(asked).toEqual([]);
});

test("where there is no room, files go to memory, and what is stored serves on", async () => {
  await take(visit(), [one]);
  estimate = { quota: 2000, usage: 1500 };
  asked = [];
  const files = visit();
  const last = await take(files, [one, two]);
  expect(last).toMatchObject({ storage: "memory", storedBytes: 1000 });
  expect(files.kept).toMatchObject({ kind: "memory", reason: "quota" });
  expect(files.kept.detail).toMatch(/1000 bytes are to be stored, 500 are free/);
  expect(asked).toEqual(["two.bin"]);
  expect(await disk.list()).toEqual([one.sha256]);
});

test("a store that fails costs the storing, not the picture", async () => {
  disk.open = () => Promise.reject(new DOMException("disk error", "UnknownError"));
  const files = visit();
  await take(files, [one, two]);
  expect(files.kept).toEqual({ kind: "memory", reason: "failed", detail: "disk error" });
});

test("files of an earlier export are let go, those of another bundle are not", async () => {
  const manifest = fakeManifest();
  manifest.shards.rest = one;
  const files = visit();
  await files.register(manifest);
  await take(files, [one, two]); // nobody's
  manifest.shards = {};
  await visit().register({ ...manifest, slots: put("three.bin", 3) });
  expect(await disk.list()).toEqual([]);

  await take(files, [one]);
  manifest.shards.rest = one;
  await new Files("http://host/other/manifest.json", { store: disk }).register(manifest);
  await visit().register({ ...manifest, shards: {} });
  expect(await disk.list()).toEqual([one.sha256]);
});

test("a record says which files a style alone needs", () => {
  const manifest = mixedManifest();
  const name = (url: string): FileRef => ({ url, bytes: 1, sha256: `hash of ${url}` });
  manifest.shards = { rest: name("rest.bin"), ink: name("ink.bin"), both: name("both.bin") };
  for (const { name: variant, graphs } of manifest.unet) {
    for (const graph of graphs) {
      graph.shards = variant === "base" ? ["rest"] : ["rest", "both"];
      if (variant === "ink") graph.shards.push("ink");
      graph.file = name(`${variant}.onnx`);
    }
  }
  for (const style of manifest.styles ?? []) if (style.pack) style.pack = name(style.name);
  const { files } = recordOf(manifest, "http://host/manifest.json");
  const owners = Object.values(files).map(({ url, styles }) => [url, styles?.join()]);
  expect(Object.fromEntries(owners)).toMatchObject({
    "rest.bin": undefined,
    "both.bin": "ink,oil",
    "ink.bin": "ink",
    "ink.onnx": "ink",
    ghibli: "ghibli",
  });
});
