/** What tests/browser/parity.mjs can ask of a browser; the wire between it, its page and its worker. */

import type {
  DenoiseRequest,
  LoadRequest,
  Problem,
  ProviderReport,
} from "../../src/worker/protocol";

type ProviderName = ProviderReport["provider"];

/** `torch.randn` draws from one generator; the output holds `noise_0`, `noise_1`, ... */
export interface NoiseJob {
  kind: "noise";
  id: string;
  seed: number;
  sizes: number[];
}

/** Prompts through the bundle's tokenizer; the output holds `tokens_0`, `tokens_1`, ... */
export interface TokensJob {
  kind: "tokens";
  id: string;
  prompts: string[];
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
  request: Omit<DenoiseRequest, "promptEmbeds" | "negativePromptEmbeds" | "preview">;
  /** Cancels when this step was reported. */
  cancelAfterStep?: number;
}

export type Job = NoiseJob | TokensJob | StepJob | LoadJob | DenoiseJob;

/** What results.json holds for each job, in the order of the jobs. */
export type JobResult =
  | {
      id: string;
      ok: true;
      /** Safetensors in the output folder. */
      output?: string;
      milliseconds?: number;
      report?: ProviderReport;
      /** Model calls that were reported. */
      steps?: number;
    }
  | { id: string; ok: false; problem: Problem; steps?: number };

/** Where the server of parity.mjs keeps things, seen from the page. */
export const places = {
  manifest: "/bundle/manifest.json",
  runtime: "/ort/",
  inputs: "/inputs/",
  outputs: "/outputs/",
};
