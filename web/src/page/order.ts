/** Settings, made into what server and worker are asked for. */

import type { Style } from "../bundle/manifest.gen";
import type { TextStyle } from "../library/codec";
import type { StyleChoice } from "../worker/protocol";
import { type Settings, styleChoices, textStyles } from "./settings";
import { promptToSend } from "./triggers";

/** Everything that decides a picture. */
export interface Order {
  /** With trigger words in front. */
  prompt: string;
  negativePrompt: string;
  styles: StyleChoice[];
  /** Those of the styles that the server needs to know, because they change the text encoder. */
  textStyles: TextStyle[];
  seed: number;
  steps: number;
  guidance: number;
  sampler: string;
  /** In pixels. */
  width: number;
  height: number;
  clipSkip: number;
  /** The part of the run, from 0 to 1, that is guided. */
  guidanceRange: [number, number];
  /** Every how many steps the model's inner layers are computed. */
  cacheInterval: number;
  /** Image-to-image: what to begin from, and how far to leave it. */
  image?: Blob;
  imageStrength?: number;
  /** What tells `image` from another, in JSON too. */
  imageId?: string;
}

export function orderFor(settings: Settings, styles: readonly Style[]): Order {
  const { image, imageStrength } = settings;
  return {
    prompt: promptToSend(settings, styles),
    negativePrompt: settings.negativePrompt.trim(),
    styles: styleChoices(settings, styles),
    textStyles: textStyles(settings, styles),
    seed: settings.seed,
    steps: settings.steps,
    guidance: settings.guidance,
    sampler: settings.sampler,
    width: settings.width,
    height: settings.height,
    clipSkip: settings.clipSkip,
    guidanceRange: settings.guidanceRange,
    cacheInterval: settings.cacheInterval,
    ...(image && { image: image.blob, imageId: image.id, imageStrength }),
  };
}

/** Whether any style has a part in a picture. */
export function isStyled({ styles, textStyles }: Order): boolean {
  return styles.some(({ strength }) => strength !== 0) || textStyles.length > 0;
}

/** The same picture at strength 0: without its styles and their trigger words. */
export function baseOrder(order: Order, settings: Settings): Order {
  return { ...order, prompt: promptToSend(settings, []), styles: [], textStyles: [] };
}
