/** Generated from runtime/manifest.py by `npm run schema`: do not edit by hand. */

export interface BundleFiles {
  Manifest: Manifest;
  SlotTable: SlotTable;
  SamplerTables: SamplerTables;
  LoraGrammar: LoraGrammar;
}
/**
 * The only file of a bundle that is read and changes.
 */
export interface Manifest {
  /**
   * hash of the base's files; packs name it
   */
  base_hash: string;
  /**
   * name and version of the program that wrote the bundle
   */
  exporter: string;
  hints: Hints;
  /**
   * JSON of LoraGrammar: how LoRA files are read that people bring
   */
  lora: FileRef;
  model: Model;
  /**
   * the base model's name
   */
  name: string;
  /**
   * what the base's export measured
   */
  parity?: Measurement[];
  samplers: Sampler[];
  schema_version?: 1;
  shards: {
    [k: string]: FileRef;
  };
  /**
   * JSON of SlotTable, the UNet's
   */
  slots: FileRef;
  storage?: Storage;
  styles?: Style[];
  text_encoder: TextEncoderPart;
  tokenizer: Tokenizer;
  unet: UNetVariant[];
  vae_decoder: Part;
  vae_encoder: Part;
}
/**
 * What the base's makers advise: `brushlet.json` beside the base's `model_index.json`.
 */
export interface Hints {
  /**
   * where classifier-free guidance starts
   */
  guidance_scale?: number;
  /**
   * what the base draws well, the best first
   */
  prompts?: string[];
  /**
   * Sampler.name to start with; default: the bundle's first
   */
  sampler?: string | null;
  /**
   * step count to start with; default: the sampler's
   */
  steps?: number | null;
  /**
   * prompts in one click, for whatever style is chosen
   */
  templates?: Template[];
}
/**
 * A prompt in one click.
 */
export interface Template {
  negative_prompt?: string;
  /**
   * trigger words of the chosen styles go where `{trigger}` stands, else in front
   */
  prompt: string;
  /**
   * the same in other languages, by their tag, for example `zh`
   */
  titles?: {
    [k: string]: string;
  };
  /**
   * what it draws, in a word or two
   */
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
 * Sizes and constants of the pipeline.
 */
export interface Model {
  cross_attention_dim: number;
  /**
   * of a UNet that is told the guidance (LCM): its input timestep_cond is the sines, then the cosines, of 1000 * (guidance_scale - 1) times each; it takes no negative prompt
   */
  guidance_frequencies?: number[];
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
   * latents = scaling_factor * what the VAE gives
   */
  vae_scaling_factor: number;
}
/**
 * How far an exported graph was from its reference, on the machine that exported it.
 */
export interface Measurement {
  cosine: number;
  /**
   * largest deviation over largest absolute reference value
   */
  error: number;
  /**
   * largest error allowed
   */
  tolerance: number;
  what: string;
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
 * How the UNet's weights are stored; those of the text encoder and the VAE are always fp16.
 *
 * `q8` and `q4`: its matrix products in blocks of 8 or 4 bits (see Quantised), the rest in fp16.
 */
export interface Storage {
  /**
   * between the two
   */
  cosine?: number | null;
  dtype?: "fp32" | "fp16" | "q8" | "q4";
  /**
   * what 8 or 4 bits cost: how far the golden step is from the one with fp16 weights, over its largest value, both computed by PyTorch
   */
  error?: number | null;
}
/**
 * A LoRA that people can choose: an external pack, or a merged UNet variant.
 */
export interface Style {
  description?: string;
  /**
   * pictures drawn with it, at most three
   *
   * @maxItems 3
   */
  examples?: FileRef[];
  kind: "external" | "merged";
  license?: string;
  /**
   * fixed, for merged styles
   */
  merged_strength?: number | null;
  /**
   * which it changes; with text_encoder, prompts depend on it
   */
  models?: ("unet" | "text_encoder")[];
  name: string;
  /**
   * what its makers keep out of pictures
   */
  negative_prompt?: string;
  pack?: FileRef | null;
  /**
   * what its export measured
   */
  parity?: Measurement[];
  rank: number;
  source_sha256: string;
  strength?: Strength;
  /**
   * what it draws well
   */
  templates?: Template[];
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
 * A CLIP text encoder: `input_ids [n, tokens]`, int64 -> `last_hidden_state [n, tokens, D]`.
 */
export interface TextEncoderPart {
  graph: Graph;
  /**
   * outputs of the graph without its last layer, its last two, and so on, each with the final layer norm and shaped like last_hidden_state: item k - 1 is diffusers' clip_skip k, A1111's clip skip k + 1. A merged style's own graph has the same
   */
  skipped?: string[];
  /**
   * JSON of SlotTable
   */
  slots: FileRef;
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
  providers: ("webgpu" | "jsep" | "webnn" | "wasm" | "cpu" | "cuda")[];
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
   * tokens that are read at once, start and end included; a longer prompt is read in chunks
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
  /**
   * every base has one; a merged style of a large base is its base's graphs with other weights, and runs where the base has passed
   */
  golden?: Golden | null;
  graphs: UNetGraph[];
  /**
   * `base`, or the style's name for a merged one
   */
  name: string;
  /**
   * whether graphs take LoRA inputs
   */
  slots: boolean;
  /**
   * of a merged style that changes it; else Manifest.text_encoder
   */
  text_encoder?: Part | null;
}
/**
 * One UNet step computed by PyTorch in fp32, to hold a device against.
 *
 * The file is safetensors: `sample [2, C, h, w]`, `timestep [1]`, `encoder_hidden_states
 * [2, T, D]` and `out_sample [2, C, h, w]`, all float32, and `timestep_cond [2, F]` where the
 * UNet is told the guidance. On a variant with slots the step is taken with a LoRA drawn from the
 * noise rule: for each slot in table order, A `[in, rank]` then B `[rank, out]`, each `randn` from
 * one generator seeded with `lora_seed`, times `lora_std`.
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
 * A denoiser's graph, in two: `prepare` runs once per picture, `file` at every step.
 *
 * `prepare` takes `encoder_hidden_states` and LoRA inputs, and computes what stays the same from
 * step to step: folded weights, keys and values of the prompt. Each of its outputs, whose types
 * are its own business, is an input of `file` of the same name.
 *
 * `file` gives `deep_features` beside `out_sample`: what its inner layers make. `shortcut` takes
 * those of an earlier step instead of computing them (DeepCache, arXiv:2312.00858), and else what
 * `file` takes.
 */
export interface UNetGraph {
  attention: "fused" | "plain";
  compute: "fp16" | "fp32";
  file: FileRef;
  prepare: FileRef;
  /**
   * execution providers this graph suits
   */
  providers: ("webgpu" | "jsep" | "webnn" | "wasm" | "cpu" | "cuda")[];
  /**
   * keys of Manifest.shards that the graph reads
   */
  shards: string[];
  shortcut: FileRef;
}
/**
 * A text encoder, VAE encoder or VAE decoder, with Optimum's input and output names.
 */
export interface Part {
  graph: Graph;
}
/**
 * Every slot of a model, in graph order.
 *
 * Slot and input names of every model but the UNet begin with `<model>.`, so that one pack can
 * hold the LoRA of several models.
 */
export interface SlotTable {
  model?: "unet" | "text_encoder";
  slot_set: "attn" | "transformer" | "full";
  slots: Slot[];
}
/**
 * A Linear or Conv module where a LoRA can attach: base(x) + (x @ A) @ B.
 */
export interface Slot {
  /**
   * module names that LoRA files use for this slot
   */
  aliases: string[];
  /**
   * rows of A: input channels, times 9 for a 3x3 kernel
   */
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
   * diffusers module path: inside the UNet; of other models `<model>.<path>`
   */
  name: string;
  out_width: number;
  weight: WeightPlace;
}
/**
 * Where a slot's base weight lies, so that it can be merged without the graph.
 */
export interface WeightPlace {
  dtype: "float16" | "float32" | "uint8";
  /**
   * bytes from the shard's start
   */
  offset: number;
  quantised?: Quantised | null;
  /**
   * as the graphs read it; a 1x1 kernel may be [out, in]; quantised: [in, out]
   */
  shape: number[];
  shard: string;
  /**
   * stored [in, out] instead of PyTorch's [out, in]
   */
  transposed: boolean;
}
/**
 * How a weight `[in, out]` is stored in a few bits, as com.microsoft's MatMulNBits reads it.
 *
 * Unsigned integers q `[out, ceil(in / block), block * bits / 8]` bytes, of four bits the even
 * element in the lower half, and fp16 scales `[out, ceil(in / block)]` in a place of their own:
 * W = (q - 2 ** (bits - 1)) * scale.
 */
export interface Quantised {
  bits: 4 | 8;
  /**
   * weights along `in` that share a scale
   */
  block: 32;
  /**
   * bytes from that shard's start
   */
  scales_offset: number;
  scales_shard: string;
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
  /**
   * one for each step: a run over a picture may begin with any
   */
  restarts: Restart[];
  start_scale: number;
  steps: SamplerStep[];
}
/**
 * A run over a picture, which begins before a later model call k: image-to-image.
 *
 * The latent before that call, `x` k, is image * (the picture's latents) + noise * (standard
 * normal noise). The steps from k on are the table's, but for the first few of a multistep
 * method, which has no past there.
 */
export interface Restart {
  image: number;
  /**
   * SamplerStep.next of the steps k, k + 1, ... that differ
   */
  next?: ["x" | "e" | "z", number, number][][];
  noise: number;
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
/**
 * How LoRA files are read. A tensor key is a module key (`Slot.aliases`) and a suffix.
 */
export interface LoraGrammar {
  /**
   * metadata that name the architecture
   */
  architecture_fields: string[];
  /**
   * the same, by metadata
   */
  architectures: Architecture[];
  /**
   * metadata: Manifest.base_hash of the base trained on
   */
  base_hash_field: string;
  /**
   * pattern at the start of a whole checkpoint's keys
   */
  checkpoint: string;
  /**
   * other model families, by module keys
   */
  families: NamedPattern[];
  kinds: LoraKind[];
  /**
   * parts that are one number
   */
  numbers: string[];
  /**
   * suffix -> part; none is the end of another
   */
  suffixes: {
    [k: string]: string;
  };
  /**
   * what module keys of text encoders begin with
   */
  text_encoders: string[];
  /**
   * kinds that are known and not supported
   */
  unsupported: NamedPattern[];
}
/**
 * A model family by what metadata say.
 */
export interface Architecture {
  family: string;
  /**
   * how the field begins, in lower case
   */
  start: string;
}
/**
 * Something that files are known by: a regular expression that a tensor key or module key
 * matches somewhere, in what Python's `re` and ECMAScript have in common.
 */
export interface NamedPattern {
  name: string;
  pattern: string;
}
/**
 * A kind of adapter: which parts make it whole, and what may come too.
 */
export interface LoraKind {
  /**
   * parts that may come beside a whole set
   */
  extras: string[];
  /**
   * whole sets of parts
   */
  forms: string[][];
  name: string;
  /**
   * what its parts look like, for people
   */
  shapes: string;
}
