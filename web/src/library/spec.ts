/** What a caller asks for, completed with what the bundle's makers advise. */

import type { Manifest, Style } from "../bundle/manifest.gen";
import { usualImageStrength } from "../engine/imagetoimage";
import { changes, styleNamed } from "../engine/manifest";
import { EngineProblem } from "../engine/problems";
import { type TaggedStyle, takeTags } from "../engine/tags";
import type { WireTensor } from "../worker/protocol";
import type { TextStyle } from "./codec";
import type { PictureSource } from "./pixels";

export interface StyleWish {
  name: string;
  /** On the denoiser; without it the style's own (`strength.default`, or what it was merged at). */
  strength?: number;
  /** On the text encoder; without it as `strength`. */
  te?: number;
}

export interface PictureWish {
  /**
   * What to draw, in A1111's syntax: `(word:1.2)` weighs a word, `<lora:name:0.8>` adds a style.
   * Trigger words are not added: see `Style.trigger_words`.
   */
  prompt?: string;
  /** Instead of a prompt: `[1, tokens, width]` each, of as many tokens. */
  embeddings?: { promptEmbeds: WireTensor; negativePromptEmbeds: WireTensor };
  /** What guidance steers away from. */
  negativePrompt?: string;
  styles?: StyleWish[];
  /** A whole number from 0; without it one by chance, which the picture tells. */
  seed?: number;
  steps?: number;
  /** Classifier-free guidance scale. */
  guidance?: number;
  /** The part of the run that is guided, in fractions of it; `[0, 1]`, all of it, without. */
  guidanceRange?: [from: number, to: number];
  /**
   * Every how many steps the UNet's inner layers are computed (DeepCache); 1, on all, without. 2 is
   * nearly twice as fast, and another picture, if only just.
   */
  cacheInterval?: number;
  /** A name in `manifest.samplers`. */
  sampler?: string;
  /** Pixels; multiples of 8. */
  width?: number;
  height?: number;
  /** How many pictures: picture i has the seed plus i, and is the one that is made alone with it. */
  count?: number;
  /** Layers of the text encoder that are left out at its end. */
  clipSkip?: number;
  /** A picture to begin with; it is cropped to the size that is asked for. */
  image?: PictureSource;
  /** How far to leave it: 0 is the picture itself, 1 forgets it. */
  imageStrength?: number;
}

/** Everything that decides a picture. */
export interface PictureSpec {
  prompt: string;
  negativePrompt: string;
  embeddings?: { promptEmbeds: WireTensor; negativePromptEmbeds: WireTensor };
  styles: { name: string; strength: number; te: number }[];
  seed: number;
  steps: number;
  guidance: number;
  guidanceRange?: [from: number, to: number];
  cacheInterval?: number;
  sampler: string;
  /** Latent pixels. */
  width: number;
  height: number;
  clipSkip: number;
  image?: { source: PictureSource; strength: number };
}

/**
 * @throws EngineProblem `request` for a size that the model has not, an unknown style, a tag that
 *   cannot be read, or when there is nothing to draw; the rest is checked where it is used
 */
export function specFor(manifest: Manifest, wish: PictureWish): PictureSpec {
  const { hints, samplers, model } = manifest;
  const { prompt, embeddings, image } = wish;
  if (prompt === undefined && !embeddings) {
    throw refusal("There is nothing to draw: give a prompt or embeddings.", "prompt");
  }
  const tagged = takeTags(prompt ?? "");
  const first = samplers.find(({ name }) => name === hints.sampler) ?? samplers[0];
  const sampler = samplers.find(({ name }) => name === wish.sampler) ?? first;
  const advised = wish.sampler === undefined ? hints.steps : undefined;
  const side = model.sample_size * model.vae_scale;
  const imageStrength = wish.imageStrength ?? usualImageStrength;
  return {
    prompt: tagged.prompt,
    negativePrompt: wish.negativePrompt ?? "",
    ...(embeddings && { embeddings }),
    styles: stylesOf(manifest, wish.styles ?? [], tagged.styles),
    seed: wish.seed ?? Math.floor(Math.random() * 2 ** 32),
    steps: wish.steps ?? advised ?? sampler?.default_steps ?? 20,
    guidance: wish.guidance ?? hints.guidance_scale ?? 7.5,
    ...(wish.guidanceRange && { guidanceRange: wish.guidanceRange }),
    ...(wish.cacheInterval && { cacheInterval: wish.cacheInterval }),
    sampler: wish.sampler ?? sampler?.name ?? "",
    width: latentSide(manifest, "width", wish.width ?? side),
    height: latentSide(manifest, "height", wish.height ?? side),
    clipSkip: wish.clipSkip ?? 0,
    ...(image && { image: { source: image, strength: imageStrength } }),
  };
}

/** Those of the request and those of the prompt's tags; what is named by both adds up. */
function stylesOf(
  manifest: Manifest,
  wishes: readonly StyleWish[],
  tags: readonly TaggedStyle[],
): PictureSpec["styles"] {
  const styles = wishes.map((wish) => strengthsOf(styleNamed(manifest, wish.name), wish));
  for (const { name, unet, te } of tags) {
    const same = styles.find((style) => style.name === name);
    if (same) Object.assign(same, { strength: same.strength + unet, te: same.te + te });
    else styles.push({ name: styleNamed(manifest, name).name, strength: unet, te });
  }
  return styles;
}

function strengthsOf(style: Style, { strength, te }: StyleWish): PictureSpec["styles"][number] {
  const own = style.kind === "merged" ? (style.merged_strength ?? 1) : style.strength?.default;
  const given = strength ?? own ?? 1;
  return { name: style.name, strength: given, te: te ?? given };
}

function latentSide({ model }: Manifest, field: "width" | "height", pixels: number): number {
  const scale = model.vae_scale;
  if (Number.isSafeInteger(pixels) && pixels > 0 && pixels % scale === 0) return pixels / scale;
  throw refusal(`The ${field} ${pixels} is no multiple of ${scale}: choose one.`, field);
}

/** Those styles of a spec that the text encoder needs to know. */
export function textStylesOf(manifest: Manifest, { styles }: PictureSpec): TextStyle[] {
  return styles
    .filter(({ name, te }) => te !== 0 && changes(styleNamed(manifest, name), "text_encoder"))
    .map(({ name, te }) => ({ name, te }));
}

function refusal(message: string, where: string): EngineProblem {
  return new EngineProblem("request", message, where);
}
