import { expect, test } from "vitest";
import { shares } from "../../src/engine/shares";

const ink = { name: "ink", norms: { unet: 3, textEncoder: 4 } };
const oil = { name: "oil", norms: { unet: 10, textEncoder: 0 } };

test("a style counts with UNet and text encoder together, at its strengths", () => {
  const found = shares([
    { ...ink, strength: 1, te: 1 },
    { ...oil, strength: -1.5, te: 0 },
  ]);
  expect(found).toEqual([
    { name: "ink", unet: 3, textEncoder: 4, share: 0.25 },
    { name: "oil", unet: 15, textEncoder: 0, share: 0.75 },
  ]);
});

test("strength 0 has no share, and of nothing all have none", () => {
  const none = { ...oil, strength: 0, te: 0 };
  expect(shares([{ ...ink, strength: 0.5, te: 0 }, none]).map(({ share }) => share)).toEqual([
    1, 0,
  ]);
  expect(shares([none]).map(({ share }) => share)).toEqual([0]);
  expect(shares([])).toEqual([]);
});

test("a merged style, which stands alone, is the whole change", () => {
  expect(shares([{ name: "merged", strength: 0.8, te: 0.8 }])).toEqual([
    { name: "merged", unet: null, textEncoder: null, share: 1 },
  ]);
});
