import { expect, test } from "vitest";
import { NoiseGenerator } from "../../src/engine/noise";
import cases from "../vectors/noise.json";

test.each(cases)("noise of seed $seed equals torch.randn, draw after draw", ({ seed, draws }) => {
  const generator = new NoiseGenerator(seed);
  for (const { size, at, values } of draws) {
    const draw = generator.randn(size);
    expect(draw).toHaveLength(size);
    const worst = Math.max(...at.map((i, k) => Math.abs((draw[i] ?? NaN) - (values[k] ?? NaN))));
    // Measured: 4.8e-7; the rest is torch's own float32 logarithm, cosine and sine.
    expect(worst).toBeLessThanOrEqual(1e-6);
  }
});

test("another seed gives other noise", () => {
  expect(new NoiseGenerator(1).randn(16)).not.toEqual(new NoiseGenerator(2).randn(16));
});
