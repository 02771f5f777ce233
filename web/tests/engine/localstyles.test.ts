import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import "fake-indexeddb/auto"; // idb asks for its classes by their global names
import { IDBFactory, IDBObjectStore } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { FileRef, Manifest, SlotTable } from "../../src/bundle/manifest.gen";
import { Files, startWork } from "../../src/engine/downloads";
import { type KeptStyle, KeptStyles } from "../../src/engine/keptstyles";
import { LocalStyles } from "../../src/engine/localstyles";
import { readPack } from "../../src/engine/packs";
import type { AddStyleRequest } from "../../src/worker/protocol";
import { fakeManifest, style } from "../manifest";
import vectors from "../vectors/lora.json";

const [unet, text] = vectors.tables as [SlotTable, SlotTable];
const contents = new Map<string, Uint8Array<ArrayBuffer>>();

function put(url: string, value: unknown): FileRef {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  contents.set(`http://host/${url}`, bytes);
  return { url, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

function bundle(changes: Partial<Manifest> = {}): Manifest {
  const manifest = { ...fakeManifest([style("pen")]), ...changes };
  manifest.lora = put("lora-grammar.json", vectors.grammar);
  manifest.text_encoder = { ...manifest.text_encoder, slots: put("slots-text.json", text) };
  return manifest;
}

/** A visit to the bundle. */
async function visit(manifest = bundle()) {
  const files = new Files("http://host/manifest.json");
  const parts = { manifest, slots: unet.slots, files, runtimeUrl: "" };
  const local = await LocalStyles.open(parts);
  const names = () => (parts.manifest.styles ?? []).map(({ name }) => name);
  const pack = async (name: string) => {
    const ref = parts.manifest.styles?.find((style) => style.name === name)?.pack as FileRef;
    return readPack(await files.get(ref, "style", startWork({})), manifest, unet.slots, name);
  };
  return { local, parts, names, pack };
}

function file(name: string, kind = "kohya"): AddStyleRequest {
  const found = vectors.good.find((one) => one.case === kind)?.file as string;
  return { name, bytes: new Uint8Array(gunzipSync(Buffer.from(found, "base64"))) };
}

beforeEach(() => {
  vi.stubGlobal("indexedDB", new IDBFactory());
  vi.stubGlobal("fetch", async (url: string) => {
    const bytes = contents.get(url);
    return bytes ? new Response(bytes) : new Response("", { status: 404 });
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const add = ({ local }: { local: LocalStyles }, request: AddStyleRequest) =>
  local.add(request, startWork({}));

test("an added style is one of the bundle's, and is there on the next visit", async () => {
  const first = await visit();
  const added = await add(first, file("Ink & Wash.safetensors"));
  expect(added).toMatchObject({ name: "ink-wash", title: "Tusche 墨", kept: "device", notes: [] });
  expect(added.models).toEqual(["unet", "text_encoder"]);
  expect(first.names()).toEqual(["pen", "ink-wash"]);
  const before = await first.pack("ink-wash");

  const second = await visit();
  expect(second.local.styles).toEqual([added]);
  expect(second.names()).toEqual(["pen", "ink-wash"]);
  expect(await second.pack("ink-wash")).toEqual(before);
  expect(before.rank).toBe(added.rank);
});

test("the same file is the same style, another of the same name gets a number", async () => {
  const page = await visit();
  const first = await add(page, file("pen.safetensors"));
  expect(first.name).toBe("pen-2"); // the bundle has a pen
  expect(await add(page, file("copy of pen.safetensors"))).toEqual(first);
  const [second, third] = await Promise.all([
    add(page, file("Pen.safetensors", "LoHa")),
    add(page, file("pen!.safetensors", "LoKr")),
  ]);
  expect([second.name, third.name]).toEqual(["pen-3", "pen-4"]);
  expect((await visit()).names()).toEqual(["pen", "pen-2", "pen-3", "pen-4"]);
});

test("a file that the bundle has as a style is that style", async () => {
  const { source_sha256 } = await add(await visit(), file("pen.safetensors"));
  vi.stubGlobal("indexedDB", new IDBFactory());
  const page = await visit(bundle({ styles: [style("brush", { source_sha256 })] }));
  const found = await add(page, file("pen.safetensors"));
  expect(found).toMatchObject({ name: "brush", kept: "bundle" });
  expect(page.local.styles).toEqual([]);
});

test("a bundle of another base is not offered it, and does not delete it", async () => {
  await add(await visit(), file("ink.safetensors"));
  const other = await visit(bundle({ base_hash: "b".repeat(64) }));
  expect(other.names()).toEqual(["pen"]);
  await add(other, file("ink.safetensors"));
  expect(other.names()).toEqual(["pen", "ink"]);
  await other.local.remove("ink");
  expect((await visit()).names()).toEqual(["pen", "ink"]);
});

test("a removed style is gone, and its name is free", async () => {
  const page = await visit();
  await add(page, file("ink.safetensors"));
  await page.local.remove("ink");
  expect(page.names()).toEqual(["pen"]);
  await expect(page.local.remove("ink")).rejects.toMatchObject({ code: "request", where: "ink" });
  await expect(page.local.remove("pen")).rejects.toThrow(/not made on this device/);
  expect((await visit()).names()).toEqual(["pen"]);
  expect((await add(page, file("ink.safetensors", "LoHa"))).name).toBe("ink");
});

describe("where the browser keeps nothing, a style serves this visit and says so", () => {
  test.each([
    ["no IndexedDB", () => vi.stubGlobal("indexedDB", undefined), /keeps nothing/],
    [
      "IndexedDB refused",
      () =>
        vi.spyOn(IDBFactory.prototype, "open").mockImplementation(() => {
          throw new DOMException("denied", "SecurityError");
        }),
      /keeps nothing/,
    ],
    [
      "no room",
      () =>
        vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
          throw new DOMException("full", "QuotaExceededError");
        }),
      /does not keep it \(full\)/,
    ],
  ])("%s", async (_, prepare, reason) => {
    prepare();
    const page = await visit();
    const added = await add(page, file("ink.safetensors"));
    expect(added.kept).toBe("memory");
    expect(added.notes).toMatchObject([
      { code: "not-kept", message: expect.stringMatching(reason) },
    ]);
    expect((await page.pack("ink")).rank).toBe(added.rank);
    vi.restoreAllMocks();
    expect((await visit()).names()).toEqual(["pen"]);
  });
});

test("a pack that was altered or removed where it is kept is not used", async () => {
  const page = await visit();
  await add(page, file("ink.safetensors"));
  const store = (await KeptStyles.open()) as KeptStyles;
  const [kept] = (await store.list()) as [KeptStyle];
  expect(kept).toMatchObject({ base_name: "scenes", style: { name: "ink" } });
  await store.put(kept, Uint8Array.of(1, 2, 3));
  await expect(page.pack("ink")).rejects.toMatchObject({ code: "storage", where: "ink" });
  await store.remove(kept.key);
  await expect(page.pack("ink")).rejects.toThrow(/Remove it, and drop its file again/);
});

test("what came along names, describes and shows the style", async () => {
  const picture = Uint8Array.of(0x89, 0x50, 0x4e, 0x47);
  const beside = [
    {
      name: "ink.json",
      bytes: new Blob(['{"activation text": "ink, wash", "preferred weight": 2}']),
    },
    { name: "ink.preview.png", bytes: new Blob([picture]) },
    { name: "notes.txt", bytes: new Blob(["mine"]) },
  ];
  const added = await add(await visit(), { ...file("ink.safetensors"), beside });
  expect(added.trigger_words).toEqual(["ink", "wash"]);
  expect(added.strength).toEqual({ default: 2, min: 0, max: 2 });
  expect(added.thumbnail?.url).toBe("data:image/png;base64,iVBORw==");
  const wrong = [{ name: "oil.json", bytes: new Blob(['{"preferred weight": "strong"}']) }];
  const refused = add(await visit(), { ...file("oil.safetensors", "LoHa"), beside: wrong });
  await expect(refused).rejects.toThrow(/oil.json has no number in `preferred weight`/);
});

test("a file of PEFT without its config says that its alpha is missing", async () => {
  const added = await add(await visit(), file("adapter_model.safetensors", "LoRA of PEFT"));
  expect(added.notes).toMatchObject([{ code: "no-alpha" }]);
});

test("what was fetched ahead lets files be added without a network", async () => {
  const page = await visit();
  await page.local.prepare();
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("offline")));
  expect((await add(page, file("ink.safetensors"))).name).toBe("ink");
  const unprepared = await visit(bundle({ base_hash: "b".repeat(64) }));
  vi.useFakeTimers({ toFake: ["setTimeout"] }); // a lost connection is tried again, after pauses
  let ended: unknown;
  const adding = unprepared.local
    .prepare()
    .then(() => add(unprepared, file("ink.safetensors")))
    .catch((thrown) => {
      ended = thrown;
    });
  while (!ended) {
    await vi.advanceTimersByTimeAsync(1000);
    await new Promise(setImmediate);
  }
  await adding;
  vi.useRealTimers();
  expect(ended).toMatchObject({ code: "network" });
});

test("adding can be cancelled", async () => {
  const { local, names } = await visit();
  const signal = AbortSignal.abort();
  const added = local.add(file("ink.safetensors"), startWork({ signal }));
  await expect(added).rejects.toMatchObject({ code: "cancelled" });
  expect(names()).toEqual(["pen"]);
});
