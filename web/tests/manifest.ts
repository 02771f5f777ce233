/** Manifests for the tests, in words only: none of their files exist. */

import type { FileRef, Manifest, Style, UNetGraph, UNetVariant } from "../src/bundle/manifest.gen";

const hash = "0".repeat(64);
export const file = (url: string): FileRef => ({ url, bytes: 1, sha256: hash });

export function graph(
  compute: UNetGraph["compute"],
  attention: UNetGraph["attention"],
  providers: UNetGraph["providers"] = ["webgpu", "jsep", "wasm"],
): UNetGraph {
  return {
    file: file(`unet-${compute}-${attention}.onnx`),
    prepare: file(`unet-${compute}-${attention}-prepare.onnx`),
    shortcut: file(`unet-${compute}-${attention}-shortcut.onnx`),
    compute,
    attention,
    providers: compute === "fp16" ? providers.filter((name) => name !== "wasm") : providers,
    shards: ["rest"],
  };
}

function variant(name: string): UNetVariant {
  return {
    name,
    slots: name === "base",
    graphs: [
      graph("fp32", "plain"),
      graph("fp32", "fused"),
      graph("fp16", "plain"),
      graph("fp16", "fused"),
    ],
    golden: {
      file: file(`golden-${name}.safetensors`),
      lora_seed: 1,
      lora_rank: 2,
      lora_std: 0.1,
      tolerance_fp16: 5e-3,
      tolerance_fp32: 1e-5,
    },
  };
}

const common = (name: string) => ({
  name,
  title: name.charAt(0).toUpperCase() + name.slice(1),
  trigger_words: [`${name} style`],
  description: `In the manner of ${name}`,
  rank: 2,
  source_sha256: hash,
});

export const style = (name: string, rest: Partial<Style> = {}): Style => ({
  ...common(name),
  kind: "external",
  strength: { default: 0.8, min: 0, max: 1.5 },
  pack: file(`styles/${name}.safetensors`),
  ...rest,
});

export const mergedStyle = (name: string, strength = 0.8): Style => ({
  ...common(name),
  kind: "merged",
  variant: name,
  merged_strength: strength,
});

/** A base with slots, a UNet for each merged style, and three samplers. */
export function fakeManifest(
  styles: Style[] = [style("miyazaki"), style("gothic"), style("cyberpunk")],
): Manifest {
  const { prepare: _, shortcut: __, ...partGraph } = graph("fp32", "fused", ["cpu"]);
  const part = { graph: partGraph };
  const merged = styles.filter(({ kind }) => kind === "merged");
  const sampler = (name: string, title: string, default_steps: number, max_steps: number) => ({
    name,
    title,
    file: file(`${name}.json`),
    default_steps,
    max_steps,
  });
  return {
    schema_version: 1,
    name: "scenes",
    base_hash: "a".repeat(64),
    exporter: "fake",
    model: {
      sample_size: 16,
      latent_channels: 4,
      in_channels: 4,
      vae_scale: 8,
      vae_scaling_factor: 0.18,
      prediction_type: "epsilon",
      cross_attention_dim: 3,
      num_train_timesteps: 1000,
      latent_rgb: [
        [1, 0, 0, 0, 0.5],
        [0, 1, 0, 0, 0],
        [0, 0, 0, 0, 1],
      ],
    },
    hints: {
      guidance_scale: 4,
      prompts: ["a castle, clouds, green hills, day", "a lighthouse, sea, sunset"],
    },
    shards: { rest: file("weights.bin") },
    unet: ["base", ...merged.map(({ name }) => name)].map(variant),
    text_encoder: { ...part, slots: file("slots-text_encoder.json") },
    vae_decoder: part,
    vae_encoder: part,
    tokenizer: {
      tokenizer_json: file("tokenizer.json"),
      tokenizer_config: file("tokenizer_config.json"),
      max_length: 77,
      bos_token_id: 1,
      eos_token_id: 2,
      pad_token_id: 2,
    },
    samplers: [
      sampler("ddim", "DDIM", 25, 50),
      sampler("lcm", "LCM", 4, 8),
      sampler("dpmpp-2m-karras", "DPM++ 2M Karras", 20, 50),
    ],
    slots: file("slots.json"),
    lora: file("lora-grammar.json"),
    styles,
  };
}

/** What the engine's tests open: two packs and two merged styles. */
export const mixedManifest = (): Manifest =>
  fakeManifest([style("ghibli"), style("gothic"), mergedStyle("ink"), mergedStyle("oil")]);
