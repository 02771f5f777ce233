import { expect, test } from "vitest";
import type { Manifest } from "../../src/bundle/manifest.gen";
import { type Circumstances, chooseMode } from "../../src/library/choosemode";
import { fakeManifest } from "../manifest";

const GiB = 2 ** 30;
const gpu = { shaderF16: true, software: false };

/** A bundle whose parts browsers can run; bytes of the denoiser, and of text encoder and VAE. */
function bundle(unet: number, parts: number, providers: "wasm" | "cpu" = "wasm"): Manifest {
  const manifest = fakeManifest();
  const sized = (bytes: number) => ({ url: "w.bin", bytes, sha256: "0".repeat(64) });
  const part = (of: Manifest["vae_decoder"]) => ({
    ...of,
    graph: { ...of.graph, providers: [providers], shards: ["parts"] },
  });
  return {
    ...manifest,
    shards: { rest: sized(unet), parts: sized(parts) },
    text_encoder: { ...manifest.text_encoder, ...part(manifest.text_encoder) },
    vae_decoder: part(manifest.vae_decoder),
    vae_encoder: part(manifest.vae_encoder),
  };
}

const around = (rest: Partial<Circumstances> = {}): Circumstances => ({
  device: { webgpu: undefined, webnn: false, isolated: true, cores: 4, identity: "" },
  memory: undefined,
  server: true,
  ...rest,
});
const withGpu = (memory?: number) =>
  around({ memory, device: { webgpu: gpu, webnn: false, isolated: true, cores: 8, identity: "" } });

test.each([
  ["a small bundle", bundle(0.04 * GiB, 0.01 * GiB), around(), "here", "whole"],
  [
    "a small bundle on a phone",
    bundle(0.04 * GiB, 0.01 * GiB),
    around({ memory: 2 }),
    "here",
    "whole",
  ],
  ["parts for servers alone", bundle(0.04 * GiB, 0.01 * GiB, "cpu"), around(), "server", "parts"],
  ["the same, without a server", bundle(1, 1, "cpu"), around({ server: false }), "here", "alone"],
  ["large parts on WebAssembly", bundle(1.7 * GiB, 0.4 * GiB), around(), "server", "faster"],
  ["large parts beside a GPU", bundle(1.7 * GiB, 0.4 * GiB), withGpu(8), "server", "faster"],
  ["a small bundle on a GPU", bundle(1.7 * GiB, 0.1 * GiB), withGpu(8), "here", "whole"],
  [
    "1.7 GiB on a phone of 4",
    bundle(1.7 * GiB, 0.4 * GiB),
    around({ memory: 4 }),
    "remote",
    "memory",
  ],
  [
    "1.7 GiB on a phone of 3 with a GPU",
    bundle(1.7 * GiB, 0.4 * GiB),
    withGpu(3),
    "remote",
    "memory",
  ],
  ["more than WebAssembly holds", bundle(2 * GiB, 0.4 * GiB), around(), "remote", "memory"],
] as const)("%s", (_, manifest, circumstances, mode, why) => {
  expect(chooseMode(manifest, circumstances)).toEqual({ mode, why });
});
