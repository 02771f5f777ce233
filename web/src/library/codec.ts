/** Words to embeddings, latents to a picture and back: on a server, or in the worker. */

import type { LoadProgress, WirePicture, WireTensor } from "../worker/protocol";

/** A style that changes what words mean. */
export interface TextStyle {
  name: string;
  /** Its strength on the text encoder. */
  te: number;
}

export interface Words {
  prompt: string;
  negativePrompt: string;
  /** Layers of the text encoder that are left out at its end; 0 without it. */
  clipSkip?: number;
  /** Those of the text encoder; others need not be named. */
  styles: TextStyle[];
}

export interface Embeddings {
  /** `[1, tokens, width]` each, of as many tokens. */
  promptEmbeds: WireTensor;
  negativePromptEmbeds: WireTensor;
}

/** Hears of downloads on the way. */
export type OnProgress = (progress: LoadProgress) => void;

/** What stands before and after the denoising. Everything throws EngineProblem, or the AbortError. */
export interface Codec {
  encode(words: Words, signal: AbortSignal, onProgress?: OnProgress): Promise<Embeddings>;
  /** `latents` is `[1, channels, height, width]`; the answer is a PNG or its pixels. */
  decode(
    latents: WireTensor,
    signal: AbortSignal,
    onProgress?: OnProgress,
  ): Promise<Blob | WirePicture>;
  /** Sides are multiples of the VAE's; the answer is what `DenoiseRequest.start` takes. */
  encodeImage(
    picture: WirePicture,
    signal: AbortSignal,
    onProgress?: OnProgress,
  ): Promise<WireTensor>;
}

/** The worker takes a tensor's buffer away with it, so it is given a copy. */
export const copyOf = ({ data, shape }: WireTensor): WireTensor => ({
  data: data.slice(),
  shape: [...shape],
});
