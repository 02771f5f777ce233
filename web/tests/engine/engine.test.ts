import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { FileRef, Golden, Manifest, Slot } from "../../src/bundle/manifest.gen";
import { Engine } from "../../src/engine/engine";
import { goldenLora } from "../../src/engine/golden";
import { Memory } from "../../src/engine/remembered";
import type { DenoiseRequest, LoadProgress, Notice } from "../../src/worker/protocol";
import { mixedManifest } from "../manifest";
import { grammar, tables } from "../vectors/lora.json";
import packs from "../vectors/packs.json";
import samplers from "../vectors/samplers.json";
import { floatFile } from "./bytes";
import { type FakeGraph, heldTensors, openSessions, preparations, trouble } from "./fakeort";

vi.mock("../../src/engine/runtimes", async (original) => {
  const { fakeOrt } = await import("./fakeort");
  return { ...(await original<object>()), loadRuntime: async () => fakeOrt };
});

const slots = packs.slots as Slot[];
const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/** A bundle in memory; tests change it before it is opened. */
class Bundle {
  readonly manifest: Manifest = mixedManifest();
  private readonly contents = new Map<string, Uint8Array>();
  asked: string[] = [];

  constructor() {
    const table = samplers.find(({ name, steps }) => name === "ddim" && steps === 6)?.table;
    this.put("slots.json", text({ slot_set: "attn", slots }));
    this.manifest.lora = this.put("lora-grammar.json", text(grammar));
    this.manifest.text_encoder.slots = this.put("slots-text.json", text(tables[1]));
    this.put("ddim.json", text({ name: "ddim", tables: { "6": table } }));
    // The first byte of a shard is the fake's weight: 2 for the base, 3 for ink, 4 for oil.
    this.manifest.shards = {};
    this.manifest.unet.forEach((variant, i) => {
      const shard = `weights-${variant.name}.bin`;
      this.manifest.shards[shard] = this.put(shard, Uint8Array.of(i + 2));
      this.manifest.shards["weights-shared.bin"] = this.put(
        "weights-shared.bin",
        new Uint8Array(9),
      );
      for (const graph of variant.graphs) {
        graph.shards = ["weights-shared.bin", shard];
        const name = `${variant.name}-${graph.compute}-${graph.attention}.onnx`;
        const inputs = ["sample", "timestep", "prepared.0"];
        graph.file = this.put(name, text({ shard, inputs } satisfies FakeGraph));
        const lora = variant.slots ? slots.flatMap((slot) => [slot.input_a, slot.input_b]) : [];
        const prepare = { shard, inputs: ["encoder_hidden_states", ...lora] };
        graph.prepare = this.put(`prepare-${name}`, text(prepare satisfies FakeGraph));
        const short = { shard, inputs: ["sample", "timestep", "deep_features"] };
        graph.shortcut = this.put(`shortcut-${name}`, text(short satisfies FakeGraph));
      }
      const sample = { shape: [2, 4, 1, 1], data: [1, 2, 3, 4, 5, 6, 7, 8] };
      const vector = variant.golden as Golden;
      const lora = variant.slots ? [...goldenLora(vector, slots).values()] : [];
      const added = lora.flatMap(({ data }) => [...data]).reduce((sum, value) => sum + value, 0);
      const golden = floatFile({
        sample,
        timestep: { shape: [1], data: [500] },
        encoder_hidden_states: { shape: [2, 1, 3], data: Array(6).fill(0) },
        out_sample: { ...sample, data: sample.data.map((value) => value * (i + 2) + added) },
      });
      vector.file = this.put(vector.file.url, golden);
    });
    packs.files.forEach((file, i) => {
      const style = this.manifest.styles?.[i];
      if (style)
        style.pack = this.put(`${style.name}.bin`, new Uint8Array(Buffer.from(file, "base64")));
    });
    this.manifest.slots = this.put("slots.json", this.contents.get("slots.json") as Uint8Array);
    for (const sampler of this.manifest.samplers) {
      sampler.file = this.put("ddim.json", this.contents.get("ddim.json") as Uint8Array);
    }
  }

  put(url: string, bytes: Uint8Array): FileRef {
    this.contents.set(url, bytes);
    return { url, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  }

  putGraph(name: string, graph: Omit<FakeGraph, "inputs">): void {
    const [variant, compute, attention] = name.split("-");
    const found = this.manifest.unet
      .find((one) => one.name === variant)
      ?.graphs.find((one) => one.compute === compute && one.attention === attention);
    const inputs = ["sample", "timestep", "prepared.0"];
    if (found) found.file = this.put(found.file.url, text({ ...graph, inputs }));
  }

  readonly fetch = async (url: string): Promise<Response> => {
    const name = url.replace("http://host/", "");
    this.asked.push(name);
    if (name === "manifest.json") return new Response(JSON.stringify(this.manifest));
    const bytes = this.contents.get(name);
    return bytes ? new Response(bytes.slice()) : new Response("", { status: 404 });
  };
}

let bundle: Bundle;
beforeEach(() => {
  bundle = new Bundle();
  vi.stubGlobal("fetch", bundle.fetch);
  openSessions.clear();
  preparations.length = 0;
});
afterEach(() => vi.unstubAllGlobals());

const request = { manifestUrl: "http://host/manifest.json", runtimeUrl: "http://host/ort/" };
const open = (onProgress?: (progress: LoadProgress) => void) =>
  Engine.open(request, onProgress ? { onProgress } : {});
const picture = (styles: [string, number][] = [], changes: Partial<DenoiseRequest> = {}) => ({
  promptEmbeds: { data: new Float32Array(3), shape: [1, 1, 3] },
  negativePromptEmbeds: { data: new Float32Array(3), shape: [1, 1, 3] },
  styles: styles.map(([name, strength]) => ({ name, strength })),
  seed: 3,
  steps: 6,
  guidanceScale: 4,
  sampler: "ddim",
  height: 2,
  width: 3,
  preview: false,
  ...changes,
});

describe("opening", () => {
  test("fetches what the first candidate needs, and nothing of merged styles", async () => {
    const engine = await open();
    expect(engine.report).toMatchObject({ provider: "wasm", compute: "fp32", threads: 1 });
    expect(engine.report.error).toBeLessThan(1e-6);
    expect(engine.report.refused.map(({ provider }) => provider)).toEqual(["webgpu", "jsep"]);
    // What adding a LoRA needs comes beside the model, in no order with it.
    const beside = ["lora-grammar.json", "slots-text.json"];
    expect(bundle.asked.filter((name) => beside.includes(name)).sort()).toEqual(beside);
    expect(bundle.asked.filter((name) => !beside.includes(name))).toEqual([
      "manifest.json",
      "slots.json",
      "golden-base.safetensors",
      "weights-shared.bin",
      "weights-base.bin",
      "prepare-base-fp32-fused.onnx",
      "base-fp32-fused.onnx",
      "shortcut-base-fp32-fused.onnx",
    ]);
  });

  test("what an earlier visit measured needs no golden vector", async () => {
    const known = vi.spyOn(Memory.prototype, "measured");
    known.mockReturnValue({ error: 3e-7, tolerance: 1e-4 });
    try {
      const engine = await open();
      expect(engine.report).toMatchObject({ provider: "wasm", error: 3e-7, tolerance: 1e-4 });
      expect(bundle.asked).not.toContain("golden-base.safetensors");
      expect((await engine.denoise(picture())).provider).toEqual(engine.report);
    } finally {
      known.mockRestore();
    }
  });

  test("progress counts every byte once and ends at the total", async () => {
    const seen: LoadProgress[] = [];
    await open((progress) => seen.push(progress));
    const loaded = seen.map(({ loadedBytes }) => loadedBytes);
    expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
    const last = seen.at(-1);
    expect(last?.stage).toBe("checking");
    expect(last?.loadedBytes).toBe(last?.totalBytes);
    expect(new Set(seen.map(({ stage }) => stage))).toEqual(
      new Set(["manifest", "shards", "graphs", "checking"]),
    );
  });

  test("a graph that computes wrongly costs another graph, not another download", async () => {
    bundle.putGraph("base-fp32-fused", { shard: "weights-base.bin", factor: 1.001 });
    const engine = await open();
    expect(engine.report.refused.at(-1)).toMatchObject({ provider: "wasm", compute: "fp32" });
    expect(engine.report.refused.at(-1)?.reason).toMatch(/fused attention is .* from PyTorch/);
    const graphs = bundle.asked.filter((name) => name.endsWith(".onnx"));
    expect(graphs).toEqual([
      "prepare-base-fp32-fused.onnx",
      "base-fp32-fused.onnx",
      "shortcut-base-fp32-fused.onnx",
      "base-fp32-plain.onnx", // its other graphs have the bytes of the fused one's here
    ]);
    expect(bundle.asked.filter((name) => name.startsWith("weights"))).toHaveLength(2);
    expect(openSessions.size).toBe(3); // the graph in use: prepare, step and shortcut
  });

  test("no provider that computes rightly: a problem with each reason", async () => {
    bundle.putGraph("base-fp32-fused", { shard: "", refuses: "out of memory" });
    bundle.putGraph("base-fp32-plain", { shard: "weights-base.bin", factor: 1e300 });
    const opened = open();
    await expect(opened).rejects.toMatchObject({ code: "no-provider" });
    await expect(opened).rejects.toThrow(/out of memory.*plain attention is Infinity/);
    expect(openSessions.size).toBe(0);
  });

  test("a damaged shard is told by name, and is no matter of the provider", async () => {
    bundle.put("weights-shared.bin", new Uint8Array(8));
    await expect(open()).rejects.toMatchObject({ code: "damaged", where: "weights-shared.bin" });
  });
});

describe("denoising", () => {
  test("strength 0 is the base picture, a style changes it, and no session is made anew", async () => {
    const engine = await open();
    const [base, zero, styled] = [
      await engine.denoise(picture()),
      await engine.denoise(picture([["ghibli", 0]])),
      await engine.denoise(picture([["ghibli", 0.8]])),
    ];
    expect(base.latents.shape).toEqual([1, 4, 2, 3]);
    expect(zero.latents.data).toEqual(base.latents.data);
    expect(styled.latents.data).not.toEqual(base.latents.data);
    expect(bundle.asked.filter((name) => name.endsWith(".onnx"))).toHaveLength(3);
    expect(bundle.asked.filter((name) => name === "ddim.json")).toHaveLength(1);
  });

  test("a picture is prepared once, with all its styles, and what it held is let go", async () => {
    const engine = await open();
    preparations.length = 0;
    const both = (ghibli: number) =>
      picture([
        ["ghibli", ghibli],
        ["gothic", 0.3],
      ]);
    await engine.denoise(both(0.8));
    expect(preparations).toHaveLength(1);
    expect(preparations[0]?.["one.lora_A"]?.dims).toEqual([3, 5]); // ranks 2 and 3
    await engine.denoise({ ...both(0.8), seed: 4 });
    await engine.denoise(both(0.7));
    const [first, second, third] = preparations.map((feeds) => feeds["one.lora_B"]?.data);
    expect(second).toBe(first); // the stacked LoRA of the last picture serves the next
    expect(third).not.toEqual(first);
    expect(heldTensors).toBe(0);
  });

  test("previews come when asked for, one for each step", async () => {
    const engine = await open();
    const previews: unknown[] = [];
    const onStep = ({ preview }: { preview?: unknown }) => previews.push(preview);
    await engine.denoise(picture(), { onStep });
    expect(previews).toEqual(Array(6).fill(undefined));
    await engine.denoise(picture([], { preview: true }), { onStep });
    expect(previews.at(-1)).toMatchObject({ width: 3, height: 2, rgba: { length: 24 } });
  });

  test("requests are taken one after another; a waiting one can be cancelled", async () => {
    const engine = await open();
    const controller = new AbortController();
    const first = engine.denoise(picture());
    const second = engine.denoise(picture(), { signal: controller.signal });
    controller.abort();
    await expect(second).rejects.toMatchObject({ code: "cancelled" });
    expect((await first).latents.data).toHaveLength(24);
  });

  test("out of memory in a step: the same picture, begun again on the next provider", async () => {
    vi.stubGlobal("crossOriginIsolated", true);
    vi.stubGlobal("navigator", { hardwareConcurrency: 2, userAgent: "test" });
    const engine = await open();
    const expected = await engine.denoise(picture([["ghibli", 0.8]]));
    expect(expected.provider.threads).toBe(2);
    trouble.next = new RangeError("Array buffer allocation failed");
    const notices: Notice[] = [];
    const onNotice = (notice: Notice) => notices.push(notice);
    const moved = await engine.denoise(picture([["ghibli", 0.8]]), { onNotice });
    expect(moved.latents.data).toEqual(expected.latents.data);
    expect(moved.provider.threads).toBe(1);
    expect(moved.provider.refused.at(-1)?.reason).toMatch(/memory ran out .*allocation failed/);
    expect(notices).toMatchObject([{ kind: "memory", from: { threads: 2 }, to: { threads: 1 } }]);
    expect(engine.report.threads).toBe(1);
    expect(openSessions.size).toBe(3);
    expect(heldTensors).toBe(0);
  });

  test("after a failed request the next one is answered", async () => {
    const engine = await open();
    await expect(engine.denoise(picture([], { steps: 51 }))).rejects.toThrow(/no table for 51/);
    await expect(engine.denoise(picture())).resolves.toBeDefined();
  });
});

describe("merged styles", () => {
  test("fetch only what the base has not fetched yet, once", async () => {
    const engine = await open();
    bundle.asked = [];
    const merged = await engine.denoise(picture([["ink", 0.8]]));
    expect(merged.provider?.provider).toBe("wasm");
    expect(bundle.asked.filter((name) => name !== "ddim.json")).toEqual([
      "golden-ink.safetensors",
      "weights-ink.bin",
      "prepare-ink-fp32-fused.onnx",
      "ink-fp32-fused.onnx",
      "shortcut-ink-fp32-fused.onnx",
    ]);
    const base = await engine.denoise(picture([["ink", 0]]));
    expect(base.latents.data).not.toEqual(merged.latents.data);
    expect((await engine.denoise(picture([["ink", 0.8]]))).latents.data).toEqual(
      merged.latents.data,
    );
    expect(bundle.asked).toHaveLength(6); // with ddim.json
  });

  test("without a golden vector they run as the base does, and only so", async () => {
    for (const variant of bundle.manifest.unet.slice(1)) variant.golden = null;
    bundle.putGraph("base-fp32-fused", { shard: "weights-base.bin", factor: 1.001 });
    bundle.putGraph("oil-fp32-plain", { shard: "", refuses: "out of memory" });
    const engine = await open();
    bundle.asked = [];
    const merged = await engine.denoise(picture([["ink", 0.8]]));
    expect(merged.provider).toEqual(engine.report);
    expect(bundle.asked.filter((name) => name.endsWith(".onnx"))).toEqual([
      "prepare-ink-fp32-plain.onnx",
      "ink-fp32-plain.onnx",
      "shortcut-ink-fp32-plain.onnx",
    ]);
    await expect(engine.denoise(picture([["oil", 0.8]]))).rejects.toThrow(/out of memory/);
  });

  test("of a large model only the variant in use is held", async () => {
    const vae = { url: "vae.bin", bytes: 2 ** 30, sha256: "0".repeat(64) };
    bundle.manifest.shards.vae = vae;
    const engine = await open();
    const merged = await engine.denoise(picture([["ink", 0.8]]));
    expect(openSessions.size).toBe(3);
    const base = await engine.denoise(picture());
    expect(openSessions.size).toBe(3);
    expect(base.latents.data).not.toEqual(merged.latents.data);
    expect(engine.report.provider).toBe("wasm");
  });

  test("prefetching one makes it ready", async () => {
    const engine = await open();
    await engine.prefetchStyle("oil");
    bundle.asked = [];
    await engine.denoise(picture([["oil", 0.8]]));
    expect(bundle.asked).toEqual(["ddim.json"]);
  });
});

describe("a prefetch that has its turn", () => {
  /** Oil's shard does not come before it is given up. */
  const openWithSlowOil = async () => {
    const engine = await open();
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
      if (!url.endsWith("weights-oil.bin")) return bundle.fetch(url);
      return new Promise<Response>((_, reject) => {
        init.signal?.addEventListener("abort", () => reject(init.signal?.reason));
      });
    });
    return engine;
  };

  test("is heard of by a request that waits for it, which can be cancelled at once", async () => {
    const engine = await openWithSlowOil();
    void engine.prefetchStyle("oil");
    const controller = new AbortController();
    const stage = await new Promise((resolve, reject) => {
      const onProgress = ({ stage }: LoadProgress) => resolve(stage);
      const hooks = { signal: controller.signal, onProgress };
      engine.denoise(picture([["oil", 0.8]]), hooks).catch(reject);
    });
    expect(stage).toBe("checking");
    const waiting = engine.denoise(picture([["oil", 0.8]]), { signal: controller.signal });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: "cancelled" });
  });

  test("gives it up when it is cancelled, and the next request is answered", async () => {
    const engine = await openWithSlowOil();
    const controller = new AbortController();
    const ahead = engine.prefetchStyle("oil", { signal: controller.signal });
    const next = engine.denoise(picture());
    controller.abort();
    await expect(ahead).rejects.toMatchObject({ code: "cancelled" });
    expect((await next).latents.data).toHaveLength(24);
  });

  test("keeps it while a request behind it gives up", async () => {
    const engine = await openWithSlowOil();
    const [prefetch, impatient] = [new AbortController(), new AbortController()];
    const ahead = engine.prefetchStyle("oil", { signal: prefetch.signal });
    const second = engine.denoise(picture(), { signal: impatient.signal });
    let answered = false;
    const third = engine.denoise(picture()).then(() => {
      answered = true;
    });
    impatient.abort();
    await expect(second).rejects.toMatchObject({ code: "cancelled" });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(answered).toBe(false);
    prefetch.abort();
    await expect(ahead).rejects.toMatchObject({ code: "cancelled" });
    await third;
  });
});

test("a style of another base is refused by name, when it is fetched", async () => {
  bundle.manifest.base_hash = "c".repeat(64);
  const engine = await open();
  await expect(engine.prefetchStyle("ghibli")).rejects.toMatchObject({ code: "wrong-base" });
});
