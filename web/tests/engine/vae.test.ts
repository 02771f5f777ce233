import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { FileRef } from "../../src/bundle/manifest.gen";
import { Files, startWork } from "../../src/engine/downloads";
import { Vae } from "../../src/engine/vae";
import { fakeManifest } from "../manifest";

/** Sessions are functions here: what comes of the one input. */
type Compute = (data: Float32Array, dims: number[]) => { data: Float32Array; dims: number[] };
let compute: Compute;
let opened = 0;
let released = 0;
let refuseThreads = false;
const threadsTried: number[] = [];

vi.mock("../../src/engine/runtimes", () => ({
  loadRuntime: async (_: string, threads: number) => {
    threadsTried.push(threads);
    if (refuseThreads && threads > 1) throw new Error("no shared memory");
    return {
      Tensor: class {
        constructor(
          readonly type: string,
          readonly data: Float32Array,
          readonly dims: number[],
        ) {}
      },
      InferenceSession: {
        async create() {
          opened += 1;
          return {
            inputNames: ["in"],
            outputNames: ["out"],
            async run({ in: fed }: { in: { data: Float32Array; dims: number[] } }) {
              const { data, dims } = compute(fed.data, fed.dims);
              return { out: { dims, getData: async () => data } };
            },
            release: async () => {
              released += 1;
            },
          };
        },
      },
    };
  },
}));

const bytes = Uint8Array.of(1, 2, 3);
const stored = (url: string): FileRef => ({
  url,
  bytes: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
});

function vae({ stays = true, threads = 1 } = {}) {
  const manifest = fakeManifest();
  manifest.model = { ...manifest.model, latent_channels: 1, vae_scale: 2, vae_scaling_factor: 0.5 };
  manifest.shards = { rest: stored("rest.bin") };
  manifest.vae_decoder = { graph: { ...manifest.vae_decoder.graph, file: stored("decoder.onnx") } };
  manifest.vae_encoder = { graph: { ...manifest.vae_encoder.graph, file: stored("encoder.onnx") } };
  const files = new Files("http://host/manifest.json");
  const parts = { manifest, slots: [], files, runtimeUrl: "http://host/ort/" };
  return new Vae(parts, threads, stays);
}

const work = () => startWork({});
const latents = { data: Float32Array.of(1, -3), shape: [1, 1, 1, 2] };

beforeEach(() => {
  opened = released = threadsTried.length = 0;
  refuseThreads = false;
  vi.stubGlobal("fetch", async () => new Response(bytes.slice()));
});
afterEach(() => vi.unstubAllGlobals());

test("a picture is the decoder's sample, cut off and rounded, opaque", async () => {
  let fed: unknown;
  // In 255ths; those of red are within a level, and below black.
  const levels = [0.4, 1.6, 2.4, -20, 300, 100, 0, 255, 7, 8, 9, 10];
  compute = (data) => {
    fed = [...data];
    const sample = levels.map((level) => 2 * (level / 255 - 0.5));
    return { data: Float32Array.from(sample), dims: [1, 3, 2, 2] };
  };
  const { rgba, width, height } = await vae().decode(latents, work());
  expect(fed).toEqual([2, -6]);
  expect([width, height]).toEqual([2, 2]);
  expect([...rgba].filter((_, i) => i % 4 === 0)).toEqual([0, 2, 2, 0]);
  expect([...rgba].filter((_, i) => i % 4 === 1)).toEqual([255, 100, 0, 255]);
  expect([...rgba].filter((_, i) => i % 4 === 2)).toEqual([7, 8, 9, 10]);
  expect([...rgba].filter((_, i) => i % 4 === 3)).toEqual([255, 255, 255, 255]);
});

test("a picture's posterior is scaled, its transparency laid on white", async () => {
  let fed: number[] = [];
  compute = (data, dims) => {
    fed = [...data];
    expect(dims).toEqual([1, 3, 2, 2]);
    return { data: Float32Array.of(3, Math.log(4)), dims: [1, 2, 1, 1] };
  };
  const rgba = new Uint8ClampedArray(16).fill(255);
  rgba.set([0, 255, 51, 255, 9, 9, 9, 0], 0);
  const encoded = await vae().encode({ rgba, width: 2, height: 2 }, work());
  expect(fed.slice(0, 4)).toEqual([-1, 1, 1, 1]);
  expect(fed.slice(4, 8)).toEqual([1, 1, 1, 1]);
  expect(fed[8]).toBeCloseTo(-0.6, 6);
  expect(encoded.shape).toEqual([1, 2, 1, 1]);
  expect(encoded.data[0]).toBe(1.5);
  expect(encoded.data[1]).toBeCloseTo(1, 6); // half of a standard deviation of two
});

test("a VAE without posterior gives the latents", async () => {
  compute = () => ({ data: Float32Array.of(3), dims: [1, 1, 1, 1] });
  const picture = { rgba: new Uint8ClampedArray(16), width: 2, height: 2 };
  const encoded = await vae().encode(picture, work());
  expect([encoded.shape, [...encoded.data]]).toEqual([[1, 1, 1, 1], [1.5]]);
});

test("sessions stay open, but beside a large model each picture opens its own", async () => {
  compute = () => ({ data: new Float32Array(12), dims: [1, 3, 2, 2] });
  const kept = vae();
  for (let i = 0; i < 2; i++) await kept.decode(latents, work());
  expect([opened, released]).toEqual([1, 0]);
  opened = 0;
  const freed = vae({ stays: false });
  for (let i = 0; i < 2; i++) await freed.decode(latents, work());
  expect([opened, released]).toEqual([2, 2]);
});

test("where threads do not start, one does", async () => {
  compute = () => ({ data: new Float32Array(12), dims: [1, 3, 2, 2] });
  refuseThreads = true;
  await vae({ threads: 4 }).decode(latents, work());
  expect(threadsTried).toEqual([4, 1]);
});

test("what is no picture is refused in words", async () => {
  compute = () => ({ data: Float32Array.of(Number.NaN), dims: [1, 3, 1, 1] });
  const wrong = { data: new Float32Array(4), shape: [1, 2, 1, 2] };
  await expect(vae().decode(wrong, work())).rejects.toThrow(/\[1,2,1,2\].*\[1, 1, h, w\]/);
  await expect(vae().decode(latents, work())).rejects.toMatchObject({ code: "numbers" });
  const odd = { rgba: new Uint8ClampedArray(12), width: 3, height: 1 };
  await expect(vae().encode(odd, work())).rejects.toThrow(/3x1.*multiples of 2/);
  const short = { rgba: new Uint8ClampedArray(3), width: 2, height: 2 };
  await expect(vae().encode(short, work())).rejects.toThrow(/has 3 bytes instead of RGBA/);
  compute = () => {
    throw new Error("out of memory");
  };
  const failed = vae().decode(latents, work());
  await expect(failed).rejects.toThrow(/VAE decoder failed \(out of memory\). Choose a smaller/);
});
