/** Chooses by device who does what. */

import type { FileRef, Graph, Manifest } from "../bundle/manifest.gen";
import { baseVariant } from "../engine/manifest";
import type { Device } from "../engine/providers";
import type { ModeChoice } from "./mode";

/** What the choice depends on. */
export interface Circumstances {
  device: Device;
  /** GiB, rounded down and at most 8; undefined where the browser does not say. */
  memory: number | undefined;
  /** Whether a server is named at all; it need not be up. */
  server: boolean;
}

const GiB = 2 ** 30;
/** WebAssembly ends at 4 GiB; inputs, outputs and what is between them need the rest. */
const WASM_LIMIT = 3.5 * GiB;
/**
 * Weights of text encoder and VAE above which a server's CPU is faster than WebAssembly, where they run
 * whatever runs the UNet.
 */
const HEAVY = 256 * 2 ** 20;

/** The way of a device, when nobody has asked for one. */
export function chooseMode(manifest: Manifest, around: Circumstances): ModeChoice {
  const { server } = around;
  if (server && !fits(manifest, around)) return { mode: "remote", why: "memory" };
  if (!server) return { mode: "here", why: "alone" };
  if (!partsRunHere(manifest)) return { mode: "server", why: "parts" };
  if (partBytes(manifest) > HEAVY) return { mode: "server", why: "faster" };
  return { mode: "here", why: "whole" };
}

/** Whether text encoder and VAE have graphs that browsers can run. */
export function partsRunHere({ text_encoder, vae_decoder, vae_encoder }: Manifest): boolean {
  const runs = ({ graph }: { graph: Graph }) => graph.providers.includes("wasm");
  return [text_encoder, vae_decoder, vae_encoder].every(runs);
}

/** Whether the denoiser's weights leave this device room to work. */
export function fits(manifest: Manifest, { device, memory }: Circumstances): boolean {
  const weights = bytesOf(manifest, baseVariant(manifest).graphs);
  const gpu = device.webgpu && !device.webgpu.software ? device.webgpu : undefined;
  // Weights stored in fp16 are computed with in fp32, unless the GPU does 16 bits.
  const { dtype = "fp16" } = manifest.storage ?? {};
  const needed = weights * (dtype === "fp16" && !gpu?.shaderF16 ? 2 : 1);
  const half = memory === undefined ? Number.POSITIVE_INFINITY : (memory * GiB) / 2;
  return needed <= (gpu ? half : Math.min(half, WASM_LIMIT));
}

/** Bytes of text encoder and VAE. */
function partBytes(manifest: Manifest): number {
  const { text_encoder, vae_decoder } = manifest;
  return bytesOf(manifest, [text_encoder.graph, vae_decoder.graph]);
}

/** Bytes of the shards that any of the graphs reads. */
function bytesOf({ shards }: Manifest, graphs: readonly { shards: string[] }[]): number {
  const files = new Set(graphs.flatMap((graph) => graph.shards));
  return [...files].reduce(
    (sum, key) => sum + ((shards[key] as FileRef | undefined)?.bytes ?? 0),
    0,
  );
}

/** What the browser says of its memory; only Chromium does. */
export function deviceMemory(): number | undefined {
  return (globalThis.navigator as { deviceMemory?: number } | undefined)?.deviceMemory;
}
