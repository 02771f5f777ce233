import type { FileRef, Graph, Manifest, Style } from "../../../src/bundle/manifest.gen";

const hash = "0".repeat(64);
const file = (url: string): FileRef => ({ url, bytes: 1, sha256: hash });
const graph: Graph = {
  file: file("graph.onnx"),
  compute: "fp32",
  attention: "fused",
  providers: ["wasm"],
  shards: [],
};
const part = { graph };

export const style = (name: string, rest: Partial<Style> = {}): Style => ({
  name,
  title: name.charAt(0).toUpperCase() + name.slice(1),
  kind: "external",
  trigger_words: [`${name} style`],
  description: `In the manner of ${name}`,
  rank: 8,
  strength: { default: 0.8, min: 0, max: 1.5 },
  pack: file(`styles/${name}.safetensors`),
  source_sha256: hash,
  ...rest,
});

/** A bundle with three styles and two samplers, in words only: none of its files exist. */
export const fakeManifest = (
  styles: Style[] = [style("miyazaki"), style("gothic"), style("cyberpunk")],
): Manifest => ({
  schema_version: 1,
  name: "scenes",
  base_hash: hash,
  exporter: "fake",
  model: {
    sample_size: 16,
    latent_channels: 4,
    in_channels: 4,
    vae_scale: 8,
    vae_scaling_factor: 1,
    prediction_type: "epsilon",
    cross_attention_dim: 8,
    num_train_timesteps: 1000,
    latent_rgb: [],
  },
  shards: {},
  unet: [],
  text_encoder: part,
  vae_decoder: part,
  vae_encoder: part,
  tokenizer: {
    tokenizer_json: file("tokenizer.json"),
    tokenizer_config: file("tokenizer_config.json"),
    max_length: 77,
    bos_token_id: 0,
    eos_token_id: 1,
    pad_token_id: 1,
  },
  samplers: [
    { name: "ddim", title: "DDIM", file: file("ddim.json"), default_steps: 25, max_steps: 50 },
    { name: "lcm", title: "LCM", file: file("lcm.json"), default_steps: 4, max_steps: 8 },
    {
      name: "dpmpp-2m-karras",
      title: "DPM++ 2M Karras",
      file: file("dpm.json"),
      default_steps: 20,
      max_steps: 50,
    },
  ],
  slots: file("slots.json"),
  styles,
});
