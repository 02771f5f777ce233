/** Picture sizes that a bundle's model can draw. */

import type { Model } from "../bundle/manifest.gen";

/** In pixels. */
export interface Size {
  width: number;
  height: number;
}

export type ShapeName = "square" | "portrait" | "landscape" | "tall" | "wide";

/** Width to height. */
const ratios: readonly (readonly [ShapeName, number])[] = [
  ["square", 1],
  ["portrait", 3 / 4],
  ["landscape", 4 / 3],
  ["tall", 9 / 16],
  ["wide", 16 / 9],
];

/** A side longer than this many times the trained one costs minutes and draws everything twice. */
const most = 4;

/** What the model was trained on. */
export function usualSize({ sample_size, vae_scale }: Model): Size {
  return { width: sample_size * vae_scale, height: sample_size * vae_scale };
}

/**
 * Shapes of about as many pixels as the model was trained on, so that each costs about the same.
 * Latents of few pixels make some of them equal: each size comes once, under its first name.
 */
export function shapesOf(model: Model): ({ name: ShapeName } & Size)[] {
  const side = usualSize(model).width;
  const scale = model.vae_scale;
  const toMultiple = (pixels: number) => Math.max(1, Math.round(pixels / scale)) * scale;
  const shapes = ratios.map(([name, ratio]) => ({
    name,
    width: name === "square" ? side : toMultiple(side * Math.sqrt(ratio)),
    height: name === "square" ? side : toMultiple(side / Math.sqrt(ratio)),
  }));
  const first = (width: number, height: number) =>
    shapes.findIndex((shape) => shape.width === width && shape.height === height);
  return shapes.filter(({ width, height }, index) => first(width, height) === index);
}

export const sameSize = (one: Size, other: Size): boolean =>
  one.width === other.width && one.height === other.height;

/** `size` where the model can draw it, else what it was trained on. */
export function fittingSize(model: Model, { width, height }: Size): Size {
  const usual = usualSize(model);
  const fits = (pixels: number) =>
    Number.isInteger(pixels) &&
    pixels > 0 &&
    pixels % model.vae_scale === 0 &&
    pixels <= most * usual.width;
  return fits(width) && fits(height) ? { width, height } : usual;
}
