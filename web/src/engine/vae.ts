/**
 * Latents to pictures and back on this device, with the conventions of diffusers' `VaeImageProcessor`
 * and the rounding of runtime/vae.py.
 */

import type { WirePicture, WireTensor } from "../worker/protocol";
import type { Work } from "./downloads";
import { Part } from "./part";
import { EngineProblem, messageOf } from "./problems";
import type { Tensor } from "./safetensors";
import { shardsOf } from "./shards";
import type { BundleParts } from "./variants";

type Half = "decoder" | "encoder";

const f32 = Math.fround;

export class Vae {
  private readonly halves = new Map<Half, Part>();

  /**
   * @param threads CPU threads; one where more do not start
   * @param stays whether its sessions stay open between pictures: beside a large UNet they are opened
   *   for each one, since WebAssembly's 4 GiB are shared
   */
  constructor(
    private readonly parts: BundleParts,
    private readonly threads: number,
    private readonly stays: boolean,
  ) {}

  /**
   * @param latents `[1, channels, h, w]`, as a denoising leaves them
   * @throws EngineProblem `request`, `numbers`, `network`, `damaged`, `no-provider` or `cancelled`
   */
  async decode({ data, shape }: WireTensor, work: Work): Promise<WirePicture> {
    const { latent_channels, vae_scaling_factor } = this.parts.manifest.model;
    const [batch, channels, h = 0, w = 0] = shape;
    const fits = shape.length === 4 && batch === 1 && channels === latent_channels;
    if (!fits || h < 1 || w < 1 || data.length !== latent_channels * h * w) {
      const message = `Latents of the shape [${shape}] are no picture's; [1, ${latent_channels}, h, w] are.`;
      throw new EngineProblem("request", message, "latents");
    }
    const factor = f32(vae_scaling_factor);
    const scaled = Float32Array.from(data, (value) => value / factor);
    const sample = await this.run("decoder", { data: scaled, shape: [...shape] }, work);
    const [, , height = 0, width = 0] = sample.shape;
    return { rgba: toPixels(sample.data), width, height };
  }

  /**
   * @returns `[1, 2 * channels, h, w]`: mean and standard deviation of the latents; `[1, channels, h,
   *   w]`, the latents, of a VAE without posterior
   * @throws EngineProblem `request`, `numbers`, `network`, `damaged`, `no-provider` or `cancelled`
   */
  async encode({ rgba, width, height }: WirePicture, work: Work): Promise<WireTensor> {
    const { latent_channels, vae_scale, vae_scaling_factor } = this.parts.manifest.model;
    if (!width || !height || width % vae_scale || height % vae_scale) {
      const message = `A picture of ${width}x${height} is no whole number of latents; make both sides multiples of ${vae_scale}.`;
      throw new EngineProblem("request", message, "image");
    }
    if (rgba.length !== width * height * 4) {
      const message = `A picture of ${width}x${height} has ${rgba.length} bytes instead of RGBA.`;
      throw new EngineProblem("request", message, "image");
    }
    const sample = { data: toSample(rgba), shape: [1, 3, height, width] };
    const { data, shape } = await this.run("encoder", sample, work);
    const half = (data.length * latent_channels) / (shape[1] ?? 1);
    const factor = f32(vae_scaling_factor);
    // Mean and log variance of the posterior, where there is one.
    const scaled = data.map((value, i) =>
      i < half ? factor * value : factor * f32(Math.exp(0.5 * Math.min(Math.max(value, -30), 20))),
    );
    return { data: scaled, shape };
  }

  async release(): Promise<void> {
    for (const [half, part] of this.halves) {
      this.halves.delete(half);
      await part.release();
    }
  }

  private async run(half: Half, input: Tensor, work: Work): Promise<Tensor> {
    const part = await this.open(half, work);
    let output: Tensor;
    try {
      output = await part.run(input);
    } catch (thrown) {
      const message = `The VAE ${half} failed (${messageOf(thrown)}). Choose a smaller size, or close other tabs.`;
      throw new EngineProblem("no-provider", message, `vae_${half}`);
    } finally {
      if (!this.stays) await this.release();
    }
    if (output.data.every(Number.isFinite)) return output;
    const message = `The VAE ${half} gave NaN or infinity. Lower the style strengths or the guidance.`;
    throw new EngineProblem("numbers", message, `vae_${half}`);
  }

  private async open(half: Half, work: Work): Promise<Part> {
    const known = this.halves.get(half);
    if (known) return known;
    const { manifest, files } = this.parts;
    const { graph } = half === "decoder" ? manifest.vae_decoder : manifest.vae_encoder;
    const part = await Part.open(this.parts, `VAE ${half}`, graph, this.threads, work);
    this.halves.set(half, part);
    // The session has its own copy, and no other graph reads these.
    for (const shard of shardsOf(manifest, graph)) files.drop(shard);
    return part;
  }
}

/** `[1, 3, H, W]` in -1..1 to opaque RGBA; half-way values to the even one, as NumPy rounds. */
function toPixels(sample: Float32Array): Uint8ClampedArray<ArrayBuffer> {
  const count = sample.length / 3;
  const rgba = new Uint8ClampedArray(count * 4).fill(255);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < count; i++) {
      const unit = f32((sample[channel * count + i] as number) / 2 + 0.5);
      rgba[4 * i + channel] = f32(255 * unit); // the array clamps, and rounds to even
    }
  }
  return rgba;
}

/** RGBA, its transparency laid on white, to `[1, 3, H, W]` in -1..1. */
function toSample(rgba: Uint8ClampedArray): Float32Array<ArrayBuffer> {
  const count = rgba.length / 4;
  const sample = new Float32Array(count * 3);
  for (let i = 0; i < count; i++) {
    const alpha = (rgba[4 * i + 3] as number) / 255;
    for (let channel = 0; channel < 3; channel++) {
      const value = rgba[4 * i + channel] as number;
      const opaque = alpha === 1 ? value : Math.round(alpha * value + (1 - alpha) * 255);
      sample[channel * count + i] = 2 * f32(opaque / 255) - 1;
    }
  }
  return sample;
}
