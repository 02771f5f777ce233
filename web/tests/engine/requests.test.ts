import { describe, expect, test } from "vitest";
import { checkRequest, planStyles, samplerNamed } from "../../src/engine/requests";
import type { DenoiseRequest } from "../../src/worker/protocol";
import { fakeManifest, mixedManifest, style } from "../manifest";

const manifest = mixedManifest();
const choice = (name: string, strength: number) => ({ name, strength });

describe("styles", () => {
  test("several packs go together, strength 0 takes none", () => {
    const choices = [choice("ghibli", 0.8), choice("gothic", -0.3), choice("ink", 0)];
    const { external, merged } = planStyles(manifest, choices);
    expect(external.map(({ style, strength }) => [style.name, strength])).toEqual([
      ["ghibli", 0.8],
      ["gothic", -0.3],
    ]);
    expect(merged).toBeUndefined();
  });

  test("one of the text encoder alone is nothing to the UNet", () => {
    const words = fakeManifest([style("words", { models: ["text_encoder"] })]);
    expect(planStyles(words, [choice("words", 1)]).external).toEqual([]);
  });

  test("a merged style goes alone, at the strength it was merged with", () => {
    expect(planStyles(manifest, [choice("ink", 0.8)]).merged?.name).toBe("ink");
  });

  test.each([
    ["unknown", [choice("cubism", 1)], /no style cubism; the bundle has ghibli, gothic, ink, oil/],
    ["twice", [choice("ghibli", 1), choice("ghibli", 0.5)], /ghibli is chosen twice/],
    ["two merged", [choice("ink", 0.8), choice("oil", 0.8)], /ink and oil are both merged/],
    ["merged and a pack", [choice("ghibli", 1), choice("ink", 0.8)], /ink is merged .* ghibli/],
    ["merged elsewhere", [choice("ink", 0.5)], /merged at strength 0.8; choose 0.8 or 0/],
    ["no number", [choice("ghibli", Number.NaN)], /strength of ghibli is no number/],
  ])("%s is refused", (_, choices, message) => {
    const plan = () => planStyles(manifest, choices);
    expect(plan).toThrow(message);
    expect(plan).toThrow(expect.objectContaining({ code: "request" }) as Error);
  });
});

describe("requests", () => {
  const embeds = (shape: number[]) => ({
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
    shape,
  });
  const request: DenoiseRequest = {
    promptEmbeds: embeds([1, 5, 3]),
    negativePromptEmbeds: embeds([1, 5, 3]),
    styles: [],
    seed: 0,
    steps: 4,
    guidanceScale: 4,
    sampler: "ddim",
    height: 4,
    width: 6,
    preview: false,
  };

  test("a right one passes", () => expect(() => checkRequest(manifest, request)).not.toThrow());

  test.each([
    ["seed", { seed: -1 }],
    ["seed", { seed: 1.5 }],
    ["guidanceScale", { guidanceScale: Number.NaN }],
    ["height", { height: 0 }],
    ["width", { width: 2.5 }],
    ["promptEmbeds", { promptEmbeds: embeds([1, 5, 4]) }],
    ["promptEmbeds", { promptEmbeds: { data: new Float32Array(2), shape: [1, 5, 3] } }],
    ["negativePromptEmbeds", { negativePromptEmbeds: embeds([1, 6, 3]) }],
    ["guidanceRange", { guidanceRange: [0.5, 0.2] as [number, number] }],
    ["cacheInterval", { cacheInterval: 0 }],
    ["cacheInterval", { cacheInterval: 1.5 }],
    ["guidanceRange", { guidanceRange: [Number.NaN, 1] as [number, number] }],
    ["start", { start: { latents: embeds([1, 4, 4, 6]), strength: 0 } }],
    ["start", { start: { latents: embeds([1, 4, 4, 6]), strength: 1.1 } }],
    ["start", { start: { latents: embeds([1, 4, 6, 4]), strength: 0.5 } }],
    ["start", { start: { latents: embeds([1, 12, 4, 6]), strength: 0.5 } }],
  ])("a wrong %s is named", (where, change) => {
    expect(() => checkRequest(manifest, { ...request, ...change })).toThrow(
      expect.objectContaining({ code: "request", where }) as Error,
    );
  });

  test("a picture to begin over may be latents, or their mean and deviation", () => {
    for (const channels of [4, 8]) {
      const start = { latents: embeds([1, channels, 4, 6]), strength: 0.5 };
      expect(() => checkRequest(manifest, { ...request, start })).not.toThrow();
    }
  });

  test("a model that is told the guidance has no calls without it", () => {
    const told = { ...manifest, model: { ...manifest.model, guidance_frequencies: [1] } };
    expect(() => checkRequest(told, { ...request, guidanceRange: [0, 1] })).not.toThrow();
    expect(() => checkRequest(told, { ...request, guidanceRange: [0, 0.5] })).toThrow(
      "leave the range out",
    );
  });

  test("an inpainting model is refused before anything is run", () => {
    const model = { ...manifest.model, in_channels: 9 };
    expect(() => checkRequest({ ...manifest, model }, request)).toThrow(
      /scenes is an inpainting model.*python -m runtime generate/,
    );
  });

  test("an unknown sampler is refused with the list", () => {
    expect(samplerNamed(manifest, "ddim").title).toBe("DDIM");
    expect(() => samplerNamed(manifest, "heun")).toThrow("no sampler heun; the bundle has ddim");
  });
});
