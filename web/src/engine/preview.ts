/**
 * A quick look at latents without the VAE: per latent pixel, RGB = weights . channels + bias, the
 * matrix fitted at export (`Model.latent_rgb`).
 *
 * @param latents `[channels, height, width]` at the scale the UNet sees
 * @param latentRgb 3 rows of `channels` weights and a bias, giving 0..1
 * @returns RGBA bytes, `height * width * 4`
 */
export function latentsToRgba(
  latents: Float32Array,
  latentRgb: readonly (readonly number[])[],
  height: number,
  width: number,
): Uint8ClampedArray<ArrayBuffer> {
  const pixels = height * width;
  const channels = latents.length / pixels;
  const rgba = new Uint8ClampedArray(pixels * 4).fill(255);
  latentRgb.forEach((row, colour) => {
    for (let pixel = 0; pixel < pixels; pixel++) {
      let value = row[channels] ?? 0;
      for (let c = 0; c < channels; c++) {
        value += (row[c] as number) * (latents[c * pixels + pixel] as number);
      }
      rgba[pixel * 4 + colour] = value * 255;
    }
  });
  return rgba;
}
