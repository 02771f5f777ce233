/** Settings, made into what server and worker are asked for. */

import type { Style } from "../bundle/manifest.gen";
import type { StyleChoice } from "../worker/protocol";
import { type Settings, styleChoices } from "./settings";
import { promptToSend } from "./triggers";

/** Everything that decides a picture. */
export interface Order {
  /** With trigger words in front. */
  prompt: string;
  negativePrompt: string;
  styles: StyleChoice[];
  seed: number;
  steps: number;
  guidance: number;
  sampler: string;
}

export function orderFor(settings: Settings, styles: readonly Style[]): Order {
  return {
    prompt: promptToSend(settings, styles),
    negativePrompt: settings.negativePrompt.trim(),
    styles: styleChoices(settings, styles),
    seed: settings.seed,
    steps: settings.steps,
    guidance: settings.guidance,
    sampler: settings.sampler,
  };
}
