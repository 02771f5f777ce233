/** onnxruntime-web's builds, one per execution provider, fetched only when they are wanted. */

import type * as ort from "onnxruntime-web";
import type { ProviderReport } from "../worker/protocol";

export type Ort = typeof ort;
export type ProviderName = ProviderReport["provider"];

/** Of all builds, exactly (package.json); another one may compute otherwise. */
export const ORT_VERSION = "1.30.0";

/** Whether its tensors lie in WebGPU buffers. */
export const onGpu = (provider: ProviderName) => provider === "webgpu" || provider === "jsep";

/**
 * The build for a provider. In 1.30 `/wasm` brings the plain CPU build (its WASM provider is twice as
 * fast as the one inside the WebGPU builds), `/webgpu` the native WebGPU provider
 * (ort-wasm-simd-threaded.asyncify.wasm), `/all` the older one in JavaScript (.jsep.wasm) and WebNN.
 *
 * A build's thread count is settled with its first session, and one that failed to start stays
 * failed. So the single-threaded build is another instance of the module (`?single`).
 */
function importBuild(provider: ProviderName, threads: number): Promise<Ort> {
  if (provider === "webgpu") return import("onnxruntime-web/webgpu");
  if (provider === "jsep" || provider === "webnn") return import("onnxruntime-web/all");
  if (threads > 1) return import("onnxruntime-web/wasm");
  return import("onnxruntime-web/wasm?single");
}

/** A model of one Identity, in ONNX. */
const IDENTITY =
  "CAg6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEBE=";

/**
 * Starts a WASM build while the files of a bundle are still read: its code is compiled beside that.
 *
 * @throws what the first session will throw, too
 */
export function startWasm(threads: number, runtimeUrl: string): Promise<void> {
  const start = async () => {
    const build = await importBuild("wasm", threads);
    const { InferenceSession } = configured(build, "wasm", threads, runtimeUrl);
    const model = Uint8Array.from(atob(IDENTITY), (letter) => letter.charCodeAt(0));
    const session = await InferenceSession.create(model, { executionProviders: ["wasm"] });
    await session.release();
  };
  warming = start();
  return warming;
}

/** onnxruntime-web refuses a session while its WebAssembly is still being started by another. */
let warming: Promise<void> = Promise.resolve();

/**
 * @param threads CPU threads; above 1 only on a cross-origin isolated page
 * @param runtimeUrl folder with onnxruntime-web's .mjs and .wasm files
 */
export async function loadRuntime(
  provider: ProviderName,
  threads: number,
  runtimeUrl: string,
): Promise<Ort> {
  await warming.catch(() => {}); // its problem is told by whoever started it
  return configured(await importBuild(provider, threads), provider, threads, runtimeUrl);
}

function configured(build: Ort, provider: ProviderName, threads: number, runtimeUrl: string): Ort {
  build.env.wasm.wasmPaths = new URL("./", runtimeUrl).href;
  build.env.wasm.numThreads = threads;
  build.env.wasm.proxy = false; // we are a worker already, and own it
  build.env.logLevel = "error";
  if (onGpu(provider)) build.env.webgpu.powerPreference = "high-performance";
  return build;
}
