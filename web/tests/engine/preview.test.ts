import { expect, test } from "vitest";
import { latentsToRgba } from "../../src/engine/preview";

test("each pixel is the matrix times its channels plus the bias, clamped to bytes", () => {
  const latents = Float32Array.of(0, 1, 0.25, 9); // two channels, one row of two pixels
  const rgba = latentsToRgba(
    latents,
    [
      [1, 0, 0],
      [0, 1, 0],
      [-1, 0, 0.5],
    ],
    1,
    2,
  );
  expect([...rgba]).toEqual([0, 64, 128, 255, 255, 255, 0, 255]);
});
