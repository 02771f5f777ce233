/** Which execution providers are worth trying on this device, in order, and why others are not. */

import type { UNetGraph, UNetVariant } from "../bundle/manifest.gen";
import type { LoadRequest, ProviderReport } from "../worker/protocol";
import { onGpu, type ProviderName } from "./runtimes";

/** A provider with one of the variant's graphs; it is used when it passes the golden vector. */
export interface Candidate {
  provider: ProviderName;
  threads: number;
  graph: UNetGraph;
}

export type Refusal = ProviderReport["refused"][number];

/** What the device offers. */
export interface Device {
  /** Undefined where there is no WebGPU adapter. */
  webgpu: { shaderF16: boolean; software: boolean } | undefined;
  /** Whether the browser has WebNN (navigator.ml). */
  webnn: boolean;
  /** Cross-origin isolated: SharedArrayBuffer, and with it threads. */
  isolated: boolean;
  cores: number;
  /** Browser and GPU in their own words: results of another one say nothing about this one. */
  identity: string;
}

export async function probeDevice(): Promise<Device> {
  const adapter = await globalThis.navigator?.gpu
    ?.requestAdapter({ powerPreference: "high-performance" })
    .catch(() => null);
  return {
    webgpu: adapter
      ? {
          shaderF16: adapter.features.has("shader-f16"),
          software: adapter.info?.isFallbackAdapter ?? false,
        }
      : undefined,
    webnn: globalThis.navigator !== undefined && "ml" in globalThis.navigator,
    isolated: globalThis.crossOriginIsolated === true,
    cores: globalThis.navigator?.hardwareConcurrency ?? 1,
    identity: JSON.stringify([
      globalThis.navigator?.userAgent,
      adapter?.info?.vendor,
      adapter?.info?.architecture,
      adapter?.info?.device,
      adapter?.info?.description,
    ]),
  };
}

/**
 * Threads for WASM: all of few cores (2 threads took 71 ms a step where 1 took 113 ms, on 2 cores),
 * half of many, since the second half are mostly hyperthreads or slow cores.
 */
export function threadsFor({ isolated, cores }: Device): number {
  if (!isolated) return 1;
  return Math.min(8, cores <= 4 ? cores : Math.floor(cores / 2));
}

/**
 * All candidates for a variant in the order of trying: native WebGPU, JSEP, WebNN, WASM with threads,
 * WASM without; fp16 before fp32 and fused attention before plain. A candidate that fails costs the
 * visitor another small graph, not another download: all read the same shards.
 *
 * @param wanted the caller's own choice and order; it also admits software GPUs
 */
export function listCandidates(
  variant: UNetVariant,
  device: Device,
  wanted?: LoadRequest["providers"],
): { candidates: Candidate[]; refused: Refusal[] } {
  const candidates: Candidate[] = [];
  const refused: Refusal[] = [];
  for (const { provider, compute, threads } of wanted ?? defaultOrder(device)) {
    const graphs = variant.graphs
      .filter((graph) => graph.providers.includes(provider))
      .filter((graph) => compute === undefined || graph.compute === compute)
      .sort((a, b) => rankOf(a) - rankOf(b));
    const refuse = (reason: string, of: string = compute ?? "any") =>
      refused.push({ provider, compute: of, reason });
    if (graphs.length === 0) refuse("the bundle has no graph for it");
    else if (provider === "wasm") {
      const count = device.isolated ? (threads ?? threadsFor(device)) : 1;
      if (count < (threads ?? 1)) refuse(`${threads} threads need a cross-origin isolated page`);
      else candidates.push(...graphs.map((graph) => ({ provider, threads: count, graph })));
    } else if (provider === "webnn") {
      if (!device.webnn) refuse("this browser offers no WebNN");
      else candidates.push(...graphs.map((graph) => ({ provider, threads: 1, graph })));
    } else if (!device.webgpu) refuse("this device offers no WebGPU adapter");
    else if (device.webgpu.software && !wanted) {
      refuse("the WebGPU adapter is software, slower than WebAssembly");
    } else {
      for (const graph of graphs) {
        if (graph.compute === "fp32" || device.webgpu.shaderF16) {
          candidates.push({ provider, threads: threads ?? 1, graph });
        } else if (!refused.some((one) => one.provider === provider && one.compute === "fp16")) {
          refuse("the GPU does not compute in 16 bits (no shader-f16)", "fp16");
        }
      }
    }
  }
  return { candidates, refused };
}

/** Threads of the WASM build that is tried first; undefined where another provider comes before. */
export function firstOnWasm(device: Device, wanted?: LoadRequest["providers"]): number | undefined {
  const hasGpu = device.webgpu !== undefined && !device.webgpu.software;
  const runs = wanted ?? defaultOrder(device).filter(({ provider }) => hasGpu || !onGpu(provider));
  const first = runs[0];
  if (first?.provider !== "wasm") return undefined;
  return device.isolated ? (first.threads ?? threadsFor(device)) : 1;
}

function defaultOrder(device: Device): NonNullable<LoadRequest["providers"]> {
  const threads = threadsFor(device);
  return [
    { provider: "webgpu" },
    { provider: "jsep" },
    ...(device.webnn ? [{ provider: "webnn" as const }] : []),
    ...(threads > 1 ? [{ provider: "wasm" as const, threads }] : []),
    { provider: "wasm", threads: 1 },
  ];
}

function rankOf({ compute, attention }: UNetGraph): number {
  return (compute === "fp16" ? 0 : 2) + (attention === "fused" ? 0 : 1);
}
