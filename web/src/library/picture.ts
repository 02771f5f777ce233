/** A finished picture. */

import type { Notice, ProviderReport, WirePicture, WireTensor } from "../worker/protocol";
import { toImageData, toPng } from "./pixels";

export interface Picture extends PictureFacts {
  width: number;
  height: number;
  /** The picture as a PNG. */
  toBlob(): Promise<Blob>;
  toImageData(): Promise<ImageData>;
}

interface PictureFacts {
  seed: number;
  /** Of the denoising alone; of everything, where the server drew it. */
  milliseconds: number;
  /** `[1, channels, height, width]`, as the VAE decoder takes them; none where the server drew it. */
  latents?: WireTensor;
  /** What computed it; none where the server drew it. */
  provider?: ProviderReport;
  /** Providers that failed on the way. */
  notices: readonly Notice[];
}

/** A picture of a PNG or of pixels: whichever is there is made the other when it is wanted. */
export function pictureOf(
  developed: Blob | WirePicture,
  size: { width: number; height: number },
  facts: PictureFacts,
): Picture {
  if (developed instanceof Blob) {
    const toBlob = async () => developed;
    return { ...facts, ...size, toBlob, toImageData: () => toImageData(developed) };
  }
  const { rgba, width, height } = developed;
  const toPixels = async () => new ImageData(new Uint8ClampedArray(rgba), width, height);
  return { ...facts, width, height, toBlob: () => toPng(developed), toImageData: toPixels };
}
