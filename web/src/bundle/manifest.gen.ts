/** Generated from runtime/manifest.py by `npm run schema`: do not edit by hand. */

export interface BundleFiles {
  Manifest: Manifest;
  SlotTable: SlotTable;
  SamplerTables: SamplerTables;
}
/**
 * The only mutable file of a bundle.
 */
export interface Manifest {
  /**
   * hash of the base's weights; packs name it
   */
  base_hash: string;
  /**
   * name and version of the program that wrote the bundle
   */
  exporter: string;
  model: Model;
  /**
   * the base model's name
   */
  name: string;
  samplers: Sampler[];
  schema_version?: 1;
  shards: {
    [k: string]: FileRef;
  };
  /**
   * JSON of SlotTable
   */
  slots: FileRef;
  styles?: Style[];
  text_encoder: Part;
  tokenizer: Tokenizer;
  unet: UNetVariant[];
  vae_decoder: Part;
  vae_encoder: Part;
}
/**
 * Sizes and constants of the pipeline.
 */
export interface Model {
  cross_attention_dim: number;
  /**
   * UNet input channels; more than latent_channels: inpainting
   */
  in_channels: number;
  latent_channels: number;
  /**
   * 3 rows of latent_channels weights and a bias: RGB in 0..1 of a latent pixel
   */
  latent_rgb: number[][];
  num_train_timesteps: number;
  prediction_type: "epsilon" | "v_prediction" | "sample";
  /**
   * default latent height and width
   */
  sample_size: number;
  /**
   * picture pixels per latent pixel, one way
   */
  vae_scale: number;
  /**
   * latents = scaling_factor * VAE posterior
   */
  vae_scaling_factor: number;
}
/**
 * A scheduler as tables of weighted sums, one table per step count (see SamplerTables).
 */
export interface Sampler {
  default_steps: number;
  /**
   * JSON of SamplerTables
   */
  file: FileRef;
  max_steps: number;
  /**
   * key, for example `ddim`
   */
  name: string;
  title: string;
}
/**
 * A file of the bundle. Its name carries its content hash, so it never changes.
 */
export interface FileRef {
  bytes: number;
  sha256: string;
  /**
   * path relative to manifest.json
   */
  url: string;
}
/**
 * A LoRA that people can choose: an external pack, or a merged UNet variant.
 */
export interface Style {
  description?: string;
  kind: "external" | "merged";
  license?: string;
  /**
   * fixed, for merged styles
   */
  merged_strength?: number | null;
  name: string;
  pack?: FileRef | null;
  rank: number;
  source_sha256: string;
  strength?: Strength;
  thumbnail?: FileRef | null;
  trigger_words?: string[];
  /**
   * UNetVariant.name of a merged style
   */
  variant?: string | null;
  title: string;
}
/**
 * How a style's slider behaves.
 */
export interface Strength {
  default?: number;
  max?: number;
  min?: number;
}
/**
 * The text encoder, VAE encoder or VAE decoder, with Optimum's input and output names.
 */
export interface Part {
  graph: Graph;
}
/**
 * One ONNX graph without weights; its initializers lie in shards, by file name and offset.
 *
 * All floating-point inputs and outputs are float32 whatever the compute precision is.
 */
export interface Graph {
  attention: "fused" | "plain";
  compute: "fp16" | "fp32";
  file: FileRef;
  /**
   * execution providers this graph suits
   */
  providers: ("webgpu" | "jsep" | "wasm" | "cpu" | "cuda")[];
  /**
   * keys of Manifest.shards that the graph reads
   */
  shards: string[];
}
/**
 * A CLIP tokenizer.
 */
export interface Tokenizer {
  bos_token_id: number;
  eos_token_id: number;
  /**
   * tokens per prompt, start and end included
   */
  max_length: number;
  pad_token_id: number;
  /**
   * tokenizer_config.json
   */
  tokenizer_config: FileRef;
  /**
   * Hugging Face tokenizer.json
   */
  tokenizer_json: FileRef;
}
/**
 * A denoiser: the base with slots, or a merged style without.
 */
export interface UNetVariant {
  golden: Golden;
  graphs: Graph[];
  /**
   * `base`, or the style's name for a merged one
   */
  name: string;
  /**
   * whether graphs take LoRA inputs
   */
  slots: boolean;
}
/**
 * One UNet step computed by PyTorch in fp32, to hold a device against.
 *
 * The file is safetensors: `sample [2, C, h, w]`, `timestep [1]`, `encoder_hidden_states
 * [2, T, D]` and `out_sample [2, C, h, w]`, all float32. On a variant with slots the step is
 * taken with a LoRA drawn from the noise rule: for each slot in table order, A `[in, rank]`
 * then B `[rank, out]`, each `randn` from one generator seeded with `lora_seed`, times
 * `lora_std`.
 */
export interface Golden {
  file: FileRef;
  lora_rank: number;
  lora_seed: number;
  /**
   * standard deviation of every A and B element
   */
  lora_std: number;
  tolerance_fp16: number;
  /**
   * largest error allowed, over max abs out_sample
   */
  tolerance_fp32: number;
}
/**
 * Every slot, in graph order.
 */
export interface SlotTable {
  slot_set: "attn" | "transformer" | "full";
  slots: Slot[];
}
/**
 * A Linear or Conv module of the UNet where a LoRA can attach: base(x) + (x @ A) @ B.
 */
export interface Slot {
  /**
   * module names that LoRA files use for this slot
   */
  aliases: string[];
  in_width: number;
  /**
   * graph input [in, rank]
   */
  input_a: string;
  /**
   * graph input [rank, out]
   */
  input_b: string;
  kind: "linear" | "conv1x1" | "conv3x3";
  /**
   * diffusers module path
   */
  name: string;
  out_width: number;
  weight: WeightPlace;
}
/**
 * Where a slot's base weight lies, so that it can be merged without the graph.
 */
export interface WeightPlace {
  dtype: "float16" | "float32";
  /**
   * bytes from the shard's start
   */
  offset: number;
  shape: number[];
  shard: string;
  /**
   * stored [in, out] instead of PyTorch's [out, in]
   */
  transposed: boolean;
}
/**
 * All step counts of one sampler.
 */
export interface SamplerTables {
  name: string;
  /**
   * step count (decimal) -> table
   */
  tables: {
    [k: string]: SamplerTable;
  };
}
/**
 * A whole run: start latent = start_scale * noise, then the steps.
 */
export interface SamplerTable {
  start_scale: number;
  steps: SamplerStep[];
}
/**
 * One model call. Terms are `[kind, index, weight]`.
 *
 * `x` i is the latent before model call i (x 0 the start latent), `e` i the raw output of model
 * call i (after guidance), `z` i fresh standard normal noise drawn after model call i.
 */
export interface SamplerStep {
  /**
   * what the UNet is given
   */
  input: ["x" | "e" | "z", number, number][];
  /**
   * the latent after this step
   */
  next: ["x" | "e" | "z", number, number][];
  /**
   * whether z of this step is drawn
   */
  noise: boolean;
  timestep: number;
}
