/** What a denoise request asks for, checked against the bundle before anything is run. */

import type { Manifest, Sampler, Style } from "../bundle/manifest.gen";
import type { DenoiseRequest, StyleChoice, WireTensor } from "../worker/protocol";
import { changes, styleNamed } from "./manifest";
import { EngineProblem } from "./problems";

/** The styles in use by a model: packs to be stacked, or the one merged variant. */
export interface StylePlan {
  external: { style: Style; strength: number }[];
  merged: Style | undefined;
}

/**
 * Which styles take part; strength 0 takes none.
 *
 * @throws EngineProblem `request` for an unknown style, or ones that cannot go together: a merged
 *   style is a UNet of its own, without inputs for others
 */
export function planStyles(
  manifest: Manifest,
  choices: readonly StyleChoice[],
  model: "unet" | "text_encoder" = "unet",
): StylePlan {
  const plan: StylePlan = { external: [], merged: undefined };
  const named = new Set<string>();
  for (const { name, strength } of choices) {
    const style = styleNamed(manifest, name);
    if (!Number.isFinite(strength)) throw refusal(`The strength of ${name} is no number.`, name);
    if (named.has(name)) throw refusal(`The style ${name} is chosen twice.`, name);
    named.add(name);
    if (strength === 0) continue;
    if (style.kind === "external") {
      if (changes(style, model)) plan.external.push({ style, strength });
    } else if (plan.merged) {
      const both = `${plan.merged.name} and ${name}`;
      throw refusal(`${both} are both merged into a model of their own; choose one.`, name);
    } else if (strength !== (style.merged_strength ?? strength)) {
      const fixed = style.merged_strength;
      throw refusal(`${name} is merged at strength ${fixed}; choose ${fixed} or 0.`, name);
    } else plan.merged = style;
  }
  const other = plan.external[0];
  if (plan.merged && other) {
    const message =
      `${plan.merged.name} is merged into the model and cannot be mixed with ${other.style.name}. ` +
      "Choose one, or export it with MODE=external.";
    throw refusal(message, plan.merged.name);
  }
  return plan;
}

/** The sampler. @throws EngineProblem `request` for an unknown one */
export function samplerNamed({ samplers }: Manifest, name: string): Sampler {
  const sampler = samplers.find((sampler) => sampler.name === name);
  if (sampler) return sampler;
  const names = samplers.map((sampler) => sampler.name).join(", ");
  throw refusal(`There is no sampler ${name}; the bundle has ${names}.`, "sampler");
}

/** @throws EngineProblem `request` naming the field that is wrong */
export function checkRequest(manifest: Manifest, request: DenoiseRequest): void {
  const { seed, guidanceScale, promptEmbeds, negativePromptEmbeds } = request;
  const { in_channels, latent_channels } = manifest.model;
  if (in_channels > latent_channels) {
    const message =
      `${manifest.name} is an inpainting model: it paints into a picture under a mask, which this ` +
      "page cannot give it. Export another base, or draw with `python -m runtime generate`.";
    throw refusal(message, "model");
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw refusal("The seed must be a whole number from 0 to 9007199254740991.", "seed");
  }
  if (!Number.isFinite(guidanceScale)) throw refusal("The guidance is no number.", "guidanceScale");
  for (const field of ["height", "width"] as const) {
    if (!Number.isSafeInteger(request[field]) || request[field] < 1) {
      throw refusal(`The latent ${field} must be a whole number from 1.`, field);
    }
  }
  checkGuidanceRange(manifest, request);
  checkCacheInterval(request);
  checkStart(manifest, request);
  checkEmbeds(manifest, "promptEmbeds", promptEmbeds);
  checkEmbeds(manifest, "negativePromptEmbeds", negativePromptEmbeds);
  if (promptEmbeds.shape[1] !== negativePromptEmbeds.shape[1]) {
    throw refusal("Prompt and negative prompt differ in token count.", "negativePromptEmbeds");
  }
}

function checkCacheInterval({ cacheInterval = 1 }: DenoiseRequest): void {
  if (Number.isSafeInteger(cacheInterval) && cacheInterval >= 1) return;
  throw refusal("The cache interval must be a whole number from 1.", "cacheInterval");
}

function checkGuidanceRange({ model }: Manifest, { guidanceRange }: DenoiseRequest): void {
  if (!guidanceRange) return;
  const [from, to] = guidanceRange;
  if (!(0 <= from && from <= to && to <= 1)) {
    const message = `Guidance from ${from} to ${to} is no part of a run; give two fractions from 0 to 1, the smaller first.`;
    throw refusal(message, "guidanceRange");
  }
  if (model.guidance_frequencies?.length && (from > 0 || to < 1)) {
    const message =
      "This model is told the guidance and has no second half to leave out on some steps; leave the range out.";
    throw refusal(message, "guidanceRange");
  }
}

function checkStart({ model }: Manifest, { start, height, width }: DenoiseRequest): void {
  if (!start) return;
  const { latents, strength } = start;
  if (!(strength > 0 && strength <= 1)) {
    throw refusal(`The image strength is ${strength}; choose one above 0 and up to 1.`, "start");
  }
  const [batch, channels = 0, ...size] = latents.shape;
  const known = channels === model.latent_channels || channels === 2 * model.latent_channels;
  const fits = batch === 1 && known && size.join() === `${[height, width]}`;
  if (fits && latents.data.length === channels * height * width) return;
  const wanted = `[1, ${model.latent_channels}, ${height}, ${width}]`;
  const message =
    `The picture to begin over has the shape [${latents.shape}] instead of ${wanted}, ` +
    "or twice as many channels. Encode it in the size that is drawn.";
  throw refusal(message, "start");
}

function checkEmbeds({ model }: Manifest, field: string, { data, shape }: WireTensor): void {
  const [batch, tokens = 0, width] = shape;
  const fits = batch === 1 && width === model.cross_attention_dim && shape.length === 3;
  if (fits && tokens >= 1 && data.length === tokens * width) return;
  const wanted = `[1, tokens, ${model.cross_attention_dim}]`;
  throw refusal(`${field} has the shape [${shape}] instead of ${wanted}.`, field);
}

function refusal(message: string, where: string): EngineProblem {
  return new EngineProblem("request", message, where);
}
