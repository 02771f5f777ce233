/** What a link, a recipe or a picture asks for and cannot have here, for the artist to hear of. */

import type { TFunction } from "i18next";
import type { Manifest } from "../bundle/manifest.gen";
import { type Settings, samplerOf } from "./settings";
import { fittingSize, type Size, sameSize, usualSize } from "./sizes";

export interface Missed {
  /** Styles that are none here. */
  styles: readonly string[];
  sampler?: string;
  size?: Size;
  /** It was drawn by another model, of this name. */
  model?: string;
  /** It began from a picture, which is not in the file. */
  image?: boolean;
}

type Asked = Partial<Pick<Settings, "sampler" | "width" | "height">>;

/** Those of sampler and size that the bundle has not. */
export function missedSettings(
  manifest: Manifest,
  { sampler, width, height }: Asked,
): Pick<Missed, "sampler" | "size"> {
  const usual = usualSize(manifest.model);
  const size = { width: width ?? usual.width, height: height ?? usual.height };
  return {
    ...(sampler !== undefined && !samplerOf(manifest, sampler) && { sampler }),
    ...(!sameSize(size, fittingSize(manifest.model, size)) && { size }),
  };
}

/** Whether there is anything to hear of. */
export const missesAny = ({ styles, ...others }: Missed) =>
  styles.length > 0 || Object.values(others).some(Boolean);

/** Sentences in the artist's language: what was done, if anything, and what was missed. */
export function sayMissed(missed: Missed, t: TFunction, done?: string): string {
  const { styles, sampler, size, model, image } = missed;
  return [
    done,
    styles.length && t("missed.styles", { names: styles.join(", ") }),
    sampler && t("missed.sampler", { name: sampler }),
    size && t("missed.size", { name: `${size.width}x${size.height}` }),
    model && t("missed.model", { name: model }),
    image && t("missed.image"),
  ]
    .filter(Boolean)
    .join(t("missed.between"));
}
