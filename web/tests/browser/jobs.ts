/** What tests/browser/parity.mjs can ask of a browser; the wire between it, its page and its worker. */

import type {
  CallName,
  DenoiseRequest,
  LoadRequest,
  Notice,
  Problem,
  ProviderReport,
  StorageReport,
  TextRequest,
} from "../../src/worker/protocol";
import type { GpuEvent, WatchOrder } from "./gpulog";

type ProviderName = ProviderReport["provider"];

/** `torch.randn` draws from one generator; the output holds `noise_0`, `noise_1`, ... */
export interface NoiseJob {
  kind: "noise";
  id: string;
  seed: number;
  sizes: number[];
}

/**
 * Prompts through the bundle's tokenizer; the output holds `tokens_0`, ... of the bare text, and `rows_0`
 * and `weights_0`, `[chunks, max_length]`, ... as the text encoder reads it.
 */
export interface TokensJob {
  kind: "tokens";
  id: string;
  prompts: string[];
}

/** A sampler's whole run on a model that costs nothing (see `toyModel`); gives `latents`. */
export interface SamplerJob {
  kind: "sampler";
  id: string;
  sampler: string;
  steps: number;
  seed: number;
  /** `[channels, height, width]` */
  shape: [number, number, number];
}

/** One UNet call on exactly this graph and provider, without a golden check; gives `out_sample`. */
export interface StepJob {
  kind: "step";
  id: string;
  /** UNet variant; `base` without it. */
  variant?: string;
  provider: ProviderName;
  /** 1 without it. */
  threads?: number;
  compute: "fp16" | "fp32";
  attention: "fused" | "plain";
  /**
   * A safetensors file, relative to the job file: `sample`, `timestep`, `encoder_hidden_states`, and
   * LoRA inputs by their graph names. Without LoRA inputs, `styles` of the bundle are stacked.
   */
  inputs: string;
  styles?: { name: string; strength: number }[];
  /** How often to run it for `milliseconds` (the median); 1 without it. */
  repeat?: number;
  /** Runs before those; 0 without it. */
  warmUp?: number;
}

/** Loads the bundle in the worker as the page does; gives the provider's report. */
export interface LoadJob {
  kind: "load";
  id: string;
  providers?: NonNullable<LoadRequest["providers"]>;
}

/** A whole run in the worker; gives `latents`. */
export interface DenoiseJob {
  kind: "denoise";
  id: string;
  providers?: NonNullable<LoadRequest["providers"]>;
  /** A safetensors file with `prompt_embeds` and `negative_prompt_embeds`, `[1, tokens, width]`. */
  inputs: string;
  request: Omit<DenoiseRequest, "promptEmbeds" | "negativePromptEmbeds" | "preview" | "start">;
  /** Image-to-image over `start` of the inputs, with this strength. */
  imageStrength?: number;
  /** Cancels when this step was reported. */
  cancelAfterStep?: number;
  /** True without it. */
  preview?: boolean;
  /** In a worker of its own kind that logs what the GPU is asked for, or loses it. */
  watch?: WatchOrder;
}

/** Words to embeddings in the worker; gives `prompt_embeds` and `negative_prompt_embeds`. */
export interface TextJob {
  kind: "text";
  id: string;
  providers?: NonNullable<LoadRequest["providers"]>;
  request: TextRequest;
}

/** Latents to a picture in the worker: `latents` of the inputs; gives `rgba [height, width, 4]`. */
export interface DecodeJob {
  kind: "decode";
  id: string;
  providers?: NonNullable<LoadRequest["providers"]>;
  inputs: string;
}

/** A picture to latents in the worker: `rgba [height, width, 4]` of the inputs; gives `encoded`. */
export interface EncodeJob extends Omit<DecodeJob, "kind"> {
  kind: "encode";
}

/** Any call of the worker whose request and result are JSON; gives `value`. */
export interface CallJob {
  kind: "call";
  id: string;
  providers?: NonNullable<LoadRequest["providers"]>;
  call: CallName;
  request: unknown;
  /** An input file that the request takes along as `bytes`, a Blob as a dropped file is. */
  file?: string;
}

/** Reloads the page: another visit. */
export interface ReloadJob {
  kind: "reload";
  id: string;
}

export type Job =
  | CallJob
  | ReloadJob
  | NoiseJob
  | TokensJob
  | SamplerJob
  | StepJob
  | LoadJob
  | DenoiseJob
  | TextJob
  | DecodeJob
  | EncodeJob;

/** What results.json holds for each job, in the order of the jobs. */
export type JobResult =
  | {
      id: string;
      ok: true;
      /** Safetensors in the output folder. */
      output?: string;
      milliseconds?: number;
      report?: ProviderReport;
      storage?: StorageReport;
      /** Model calls that were reported. */
      steps?: number;
      value?: unknown;
      /** What was sent to the server meanwhile: `POST /path`; added by parity.mjs. */
      sent?: string[];
      /** Providers that failed on the way. */
      notices?: Notice[];
      /** Of a watched run. */
      gpu?: GpuEvent[];
    }
  | { id: string; ok: false; problem: Problem; steps?: number };

/** Where the server of parity.mjs keeps things, seen from the page. */
export const places = {
  manifest: "/bundle/manifest.json",
  runtime: "/ort/",
  inputs: "/inputs/",
  outputs: "/outputs/",
};
