import { describe, expect, test } from "vitest";
import { guidanceCondition } from "../../src/engine/guidance";
import { fakeManifest } from "../manifest";

const { model } = fakeManifest();
const frequencies = [1, 0.046415891498327255, 0.002154434798285365, 9.99999901978299e-5];
const lcm = { ...model, guidance_frequencies: frequencies };

describe("the guidance that a UNet is told", () => {
  // diffusers 0.39, `get_guidance_scale_embedding(torch.tensor([7.5]), 8)` and of 0
  test.each([
    [
      8.5,
      [
        -0.8512358665466309, 0.5626711249351501, -0.4352330267429352, 0.6816387176513672,
        -0.5247832536697388, -0.8266808390617371, -0.9003178477287292, 0.731688916683197,
      ],
    ],
    [1, [0, 0, 0, 0, 1, 1, 1, 1]],
  ])("at %d is that of diffusers", (scale, expected) => {
    const condition = guidanceCondition(lcm, scale);
    expect(condition?.shape).toEqual([1, 8]);
    for (const [i, value] of expected.entries()) {
      expect(condition?.data[i]).toBeCloseTo(value, 6);
    }
  });

  test("is no input of other UNets", () => {
    expect(guidanceCondition(model, 8.5)).toBeUndefined();
  });
});
