/** A picture with its settings written into it, and its small copy for lists. */

import type { Manifest } from "../bundle/manifest.gen";
import { infotextFor, keyword } from "./infotext";
import type { Order } from "./order";
import { withText } from "./png";

/** Pixels; the longest side of a small copy. */
const thumbSide = 256;

/** The PNG with A1111's infotext. @throws PngProblem where `png` is none, which a server may send */
export async function signed(
  png: Blob,
  order: Order,
  manifest: Manifest,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(await png.arrayBuffer());
  return withText(bytes, keyword, infotextFor(order, manifest));
}

/** Undefined where the picture is small itself. */
export async function thumbOf(png: Blob): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (typeof OffscreenCanvas === "undefined") return undefined;
  const bitmap = await createImageBitmap(png);
  const scale = thumbSide / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) {
    bitmap.close();
    return undefined;
  }
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.round(side * scale));
  const canvas = new OffscreenCanvas(width ?? thumbSide, height ?? thumbSide);
  const context = canvas.getContext("2d");
  if (context) context.imageSmoothingQuality = "high";
  context?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const small = await canvas.convertToBlob({ type: "image/webp", quality: 0.85 });
  return context ? new Uint8Array(await small.arrayBuffer()) : undefined;
}
