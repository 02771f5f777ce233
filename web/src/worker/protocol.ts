/** The wire between the page and the denoising worker: every message, as discriminated unions. */

/** What a visitor can act on; `code` is stable, `message` says what to do. */
export interface Problem {
  code:
    | "network" // a file could not be fetched
    | "damaged" // a file's bytes are not what the manifest promises
    | "manifest" // manifest.json is missing or not of this version
    | "wrong-base" // a style belongs to another base model
    | "no-provider" // no execution provider passed its golden vector
    | "numbers" // NaN or Inf in a step
    | "request" // the request itself is wrong (unknown style, sampler, step count, ...)
    | "cancelled"
    | "internal";
  message: string;
  /** The file, style or field concerned. */
  where?: string;
}

export type Outcome<T> = { ok: true; value: T } | { ok: false; problem: Problem };

export interface StyleChoice {
  name: string;
  /** Multiplies the style's B tensors; 0 is the base picture. */
  strength: number;
}

/** Float tensors travel as their buffer and shape; buffers are transferred, not copied. */
export interface WireTensor {
  data: Float32Array;
  shape: number[];
}

export interface DenoiseRequest {
  /** `[1, tokens, width]` each. */
  promptEmbeds: WireTensor;
  negativePromptEmbeds: WireTensor;
  styles: StyleChoice[];
  seed: number;
  steps: number;
  guidanceScale: number;
  sampler: string;
  /** Latent height and width. */
  height: number;
  width: number;
  /** Whether each step reports a preview picture. */
  preview: boolean;
}

export interface ProviderReport {
  /** `webgpu`, `jsep` or `wasm`. */
  provider: "webgpu" | "jsep" | "wasm";
  compute: "fp16" | "fp32";
  threads: number;
  /** Largest golden-vector error over the largest reference value. */
  error: number;
  tolerance: number;
  /** Candidates that were tried before and why each was not used. */
  refused: { provider: string; compute: string; reason: string }[];
}

export interface LoadProgress {
  stage: "manifest" | "shards" | "graphs" | "checking" | "style";
  file: string;
  loadedBytes: number;
  totalBytes: number;
}

export interface StepReport {
  /** 1-based, of `steps`. */
  step: number;
  steps: number;
  milliseconds: number;
  /** RGBA, latent size, when asked for. */
  preview?: { rgba: Uint8ClampedArray<ArrayBuffer>; width: number; height: number };
}

export interface DenoiseResult {
  /** `[1, channels, height, width]`, ready for the VAE decoder. */
  latents: WireTensor;
  milliseconds: number;
  /** What ran it: a merged style may have needed another provider than the base. */
  provider?: ProviderReport;
}

export interface LoadRequest {
  /** Absolute URL of manifest.json. */
  manifestUrl: string;
  /** Absolute URL of the folder that serves onnxruntime-web's .wasm files. */
  runtimeUrl: string;
  /** Candidates in order; without it the engine's own order. */
  providers?: {
    provider: ProviderReport["provider"];
    compute?: "fp16" | "fp32";
    threads?: number;
  }[];
}

export type Request =
  | { type: "load"; id: number; request: LoadRequest }
  | { type: "denoise"; id: number; request: DenoiseRequest }
  /** Fetches a style ahead of its first use. */
  | { type: "prefetch-style"; id: number; name: string }
  /** Ends what was asked under this id; a denoise within one UNet step. */
  | { type: "cancel"; id: number };

export type Reply =
  | { type: "progress"; id: number; progress: LoadProgress }
  | { type: "step"; id: number; step: StepReport }
  | { type: "loaded"; id: number; outcome: Outcome<ProviderReport> }
  | { type: "denoised"; id: number; outcome: Outcome<DenoiseResult> }
  | { type: "style-ready"; id: number; outcome: Outcome<null> };
