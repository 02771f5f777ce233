/** The wire between the page and the denoising worker: every message, as discriminated unions. */

import type { Manifest, Style } from "../bundle/manifest.gen";

/** What a visitor can act on; `code` is stable, `message` says what to do. */
export interface Problem {
  code:
    | "network" // a file could not be fetched
    | "damaged" // a file's bytes are not what the manifest promises
    | "manifest" // manifest.json is missing or not of this version
    | "wrong-base" // a style belongs to another base model
    | "no-provider" // no execution provider passed its golden vector
    | "numbers" // NaN or Inf in a step
    | "lora" // a LoRA file that cannot become a style here
    | "storage" // the browser keeps no more, or lost what it kept
    | "request" // the request itself is wrong (unknown style, sampler, step count, ...)
    | "no-server" // a static host, which has none
    | "server-down" // no answer at all
    | "server-busy" // not ready yet, or too much to do
    | "server-refused" // it says no to what it was asked
    | "server-failed" // it broke
    | "server-reply" // an answer that is not what was asked for
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

/** A picture's pixels. */
export interface WirePicture {
  /** RGBA, `height * width * 4`. */
  rgba: Uint8ClampedArray<ArrayBuffer>;
  width: number;
  height: number;
}

export interface TextRequest {
  /** Both in A1111's syntax (engine/prompts.ts), without style tags (`takeTags` of engine/tags.ts). */
  prompt: string;
  negativePrompt: string;
  /** Layers of the text encoder that are left out at its end, 0 without it; A1111 counts from 1. */
  clipSkip?: number;
  /** Those that change the text encoder, with their strength on it. */
  styles: { name: string; te: number }[];
}

export interface TextResult {
  /** `[1, tokens, width]` each, of as many tokens. */
  promptEmbeds: WireTensor;
  negativePromptEmbeds: WireTensor;
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
  /** The part of the run that is guided, in fractions of it; `[0, 1]`, all of it, without. */
  guidanceRange?: [from: number, to: number];
  /** Every how many model calls the UNet's inner layers are computed (DeepCache); 1, all, without. */
  cacheInterval?: number;
  /**
   * Image-to-image: what `encode-image` gave, or latents `[1, channels, height, width]`, and which
   * part of the run is run over it, above 0 to 1.
   */
  start?: { latents: WireTensor; strength: number };
}

export interface ProviderReport {
  /** `webgpu`, `jsep`, `webnn` or `wasm`. */
  provider: "webgpu" | "jsep" | "webnn" | "wasm";
  compute: "fp16" | "fp32";
  threads: number;
  /** Largest golden-vector error over the largest reference value. */
  error: number;
  tolerance: number;
  /** Candidates that were tried before and why each was not used. */
  refused: { provider: string; compute: string; reason: string }[];
}

/** Where a bundle's files are kept: the file system of the origin, Cache Storage, or this tab alone. */
export type StorageKind = "opfs" | "cache" | "memory";

/** Where a bundle is kept, and why not somewhere better. */
export interface StorageReport {
  kind: StorageKind;
  reason?:
    | "insecure" // the page is not https, and browsers store nothing for it
    | "absent" // this browser has no better kind
    | "refused" // it has one, and does not give it (private windows, settings)
    | "quota" // there is no room for the files
    | "failed"; // storing them went wrong
  /** The browser's own words on it. */
  detail?: string;
  /** Whether the browser promised not to evict it by itself. */
  persisted: boolean;
  /** The server did not answer, so that the bundle is as the last visit left it. */
  offline: boolean;
}

export interface LoadResult {
  report: ProviderReport;
  storage: StorageReport;
}

export interface LoadProgress {
  stage: "manifest" | "shards" | "graphs" | "checking" | "style";
  file: string;
  /** Of the files that are needed: what is here, and all. */
  loadedBytes: number;
  totalBytes: number;
  /** Of `loadedBytes`, what the browser had kept; the rest was downloaded. */
  storedBytes: number;
  /** Of the download over the last seconds; absent while nothing comes. */
  bytesPerSecond?: number;
  /** At that rate. */
  secondsLeft?: number;
  /** What the file waits for: the lost connection, or another tab that is downloading it. */
  waiting?: "network" | "tab";
  /** Where files are kept, once that is known. */
  storage?: StorageKind;
}

export interface StepReport {
  /** 1-based, of `steps`. */
  step: number;
  steps: number;
  milliseconds: number;
  /** RGBA, latent size, when asked for. */
  preview?: { rgba: Uint8ClampedArray<ArrayBuffer>; width: number; height: number };
}

/** A provider failed at work; the picture begins again on another, from the same seed. */
export interface Notice {
  /** The GPU was lost, memory ran out, a step gave NaN or infinity, or a command failed. */
  kind: "lost" | "memory" | "numbers" | "failed";
  from: Pick<ProviderReport, "provider" | "compute" | "threads">;
  to: Pick<ProviderReport, "provider" | "compute" | "threads">;
  /** In the words of who failed. */
  reason: string;
}

export interface DenoiseResult {
  /** `[1, channels, height, width]`, ready for the VAE decoder. */
  latents: WireTensor;
  milliseconds: number;
  /** What ran it: a merged style may have needed another provider than the base. */
  provider: ProviderReport;
}

/** A manifest, and whether it is the one of the last visit because the server did not answer. */
export interface OpenedManifest {
  manifest: Manifest;
  offline: boolean;
}

export interface WarmUpRequest {
  /** Absolute URL of the folder that serves onnxruntime-web's .wasm files. */
  runtimeUrl: string;
  /** Candidates in order; without it the engine's own order. */
  providers?: {
    provider: ProviderReport["provider"];
    compute?: "fp16" | "fp32";
    threads?: number;
  }[];
}

export interface LoadRequest extends WarmUpRequest {
  /** Absolute URL of manifest.json. */
  manifestUrl: string;
  /** What came from there, where the caller has opened it already. */
  opened?: OpenedManifest;
}

/** A file that a visitor brings. A Blob is read piece by piece, and never in memory whole. */
export interface BroughtFile {
  name: string;
  bytes: Uint8Array<ArrayBuffer> | Blob;
}

export interface AddStyleRequest extends BroughtFile {
  /**
   * What was dropped with it: of the same stem an A1111 sidecar (`.json`) and a picture (`.png`,
   * `.preview.png`, `.webp`, `.jpg`), and PEFT's `adapter_config.json`. Others are left alone.
   */
  beside?: BroughtFile[];
}

/** A style made from a file on this device; it is used like any other, by its name. */
export interface LocalStyle extends Style {
  /** `memory` is gone with this page; `bundle`: the bundle has a style of this very file. */
  kept: "device" | "memory" | "bundle";
  /** What the visitor should know. */
  notes: {
    code:
      | "other-base" // it says that it was trained on another base
      | "no-alpha" // PEFT's file without the config that has its alpha
      | "not-kept" // the browser keeps nothing, or has no room
      | "read-here"; // it changes the text encoder, and the server has no such style
    message: string;
  }[];
}

/** How much a style changes the model at its strength, beside the others. */
export interface Contribution {
  name: string;
  /**
   * ||s A B||, the Frobenius norm of its change to all of the model's weights; null for a merged style,
   * whose change is in weights of its own.
   */
  unet: number | null;
  textEncoder: number | null;
  /** Of the sum of all styles' norms, each over both models; they sum to 1, or are 0 without a change. */
  share: number;
}

/** What the page can ask of the worker: each call's request, and what it ends with. */
export interface Calls {
  /** Starts what opening a bundle will wait for. */
  "warm-up": { request: WarmUpRequest; result: null };
  /** Opens the bundle and chooses an execution provider; once per worker. */
  load: { request: LoadRequest; result: LoadResult };
  /** Denoises one picture's latents. */
  denoise: { request: DenoiseRequest; result: DenoiseResult };
  /** Fetches the style of that name ahead of its first use. */
  "prefetch-style": { request: string; result: null };
  /** Stores what this device needs besides the UNet, for visits without a network. */
  "keep-parts": { request: null; result: null };
  /** Words to embeddings, on this device. */
  "encode-text": { request: TextRequest; result: TextResult };
  /** Latents `[1, channels, height, width]` to a picture, on this device. */
  "decode-latents": { request: WireTensor; result: WirePicture };
  /**
   * A picture, whose sides are multiples of the VAE's, to what a denoising may begin over, on this
   * device: `[1, 2 * channels, height, width]`, the mean and the standard deviation of its latents,
   * to be drawn with the picture's seed; the latents themselves of a VAE without posterior (TAESD).
   */
  "encode-image": { request: WirePicture; result: WireTensor };
  /** Makes a LoRA file a style of the bundle, kept for later visits. */
  "add-style": { request: AddStyleRequest; result: LocalStyle };
  /** Forgets a style that was made here. */
  "remove-style": { request: string; result: null };
  /** The styles that were made here from files, on this visit and before. */
  "local-styles": { request: null; result: LocalStyle[] };
  /** Each chosen style's share of the change; `te` without a value is `strength`. */
  contributions: { request: (StyleChoice & { te?: number })[]; result: Contribution[] };
  /** Addresses of all files that the worker has fetched, for the page to keep them. */
  "used-files": { request: null; result: string[] };
}

export type CallName = keyof Calls;
export type CallRequest<Name extends CallName> = Calls[Name]["request"];
export type CallResult<Name extends CallName> = Calls[Name]["result"];

export type Request =
  | {
      [Name in CallName]: { type: Name; id: number; request: CallRequest<Name> };
    }[CallName]
  /** Ends what was asked under this id; a denoise within one UNet step. */
  | { type: "cancel"; id: number };

export type Reply =
  | { type: "progress"; id: number; progress: LoadProgress }
  | { type: "step"; id: number; step: StepReport }
  | { type: "notice"; id: number; notice: Notice }
  /** The last reply to a request. */
  | { type: "done"; id: number; outcome: Outcome<CallResult<CallName>> };
