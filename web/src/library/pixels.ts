/** Pictures as pixels and as files, by the browser's own canvas. */

import { EngineProblem } from "../engine/problems";
import type { WirePicture } from "../worker/protocol";

/** Whatever can be drawn from. */
export type PictureSource = WirePicture | ImageData | Blob | ImageBitmap;

/** A PNG without loss: pictures here have no transparency. */
export async function toPng({ rgba, width, height }: WirePicture): Promise<Blob> {
  const { canvas, context } = blank(width, height);
  context.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

/** @throws EngineProblem `request` for a file that is no picture */
export async function toImageData(picture: Blob): Promise<ImageData> {
  const bitmap = await bitmapOf(picture);
  const { width, height } = bitmap;
  const { context } = blank(width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/**
 * The middle of a picture at another size, as large as it goes; what is transparent is white.
 *
 * @throws EngineProblem `request` for a file that is no picture
 */
export async function fitted(
  source: PictureSource,
  width: number,
  height: number,
): Promise<WirePicture> {
  const bitmap = await bitmapOf(source);
  const { context } = blank(width, height);
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [w, h] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
  bitmap.close();
  return { rgba: context.getImageData(0, 0, width, height).data, width, height };
}

/** One of its own, which may be closed. */
async function bitmapOf(source: PictureSource): Promise<ImageBitmap> {
  const pixels =
    "rgba" in source ? new ImageData(source.rgba, source.width, source.height) : source;
  try {
    return await createImageBitmap(pixels);
  } catch {
    const message = "This is no picture that the browser can read: give a PNG, JPEG or WebP file.";
    throw new EngineProblem("request", message, "image");
  }
}

function blank(width: number, height: number) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context) return { canvas, context };
  const message = "This browser has no 2D canvas left. Close other pages, then try again.";
  throw new EngineProblem("internal", message);
}
