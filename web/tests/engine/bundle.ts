/** A small bundle's manifest for the tests: a base with slots and two merged styles. */

import type { FileRef, Graph, Manifest, Style, UNetVariant } from "../../src/bundle/manifest.gen";

const file = (url: string): FileRef => ({ url, bytes: 1, sha256: "0".repeat(64) });

export function graph(
  compute: Graph["compute"],
  attention: Graph["attention"],
  providers: Graph["providers"] = ["webgpu", "jsep", "wasm"],
): Graph {
  return {
    file: file(`unet-${compute}-${attention}.onnx`),
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

function style(name: string, kind: Style["kind"]): Style {
  return {
    name,
    title: name,
    kind,
    rank: 2,
    source_sha256: "0".repeat(64),
    ...(kind === "external"
      ? { pack: file(`${name}.safetensors`) }
      : { variant: name, merged_strength: 0.8 }),
  };
}

export function tinyManifest(): Manifest {
  const part = { graph: graph("fp32", "fused", ["cpu"]) };
  return {
    schema_version: 1,
    name: "tiny",
    base_hash: "a".repeat(64),
    exporter: "test",
    model: {
      sample_size: 4,
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
    shards: { rest: file("weights.bin") },
    unet: [variant("base"), variant("ink"), variant("oil")],
    text_encoder: part,
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
      { name: "ddim", title: "DDIM", file: file("ddim.json"), default_steps: 25, max_steps: 50 },
    ],
    slots: file("slots.json"),
    styles: [
      style("ghibli", "external"),
      style("gothic", "external"),
      style("ink", "merged"),
      style("oil", "merged"),
    ],
  };
}
