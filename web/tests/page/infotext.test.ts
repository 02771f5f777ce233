// @vitest-environment node
import { describe, expect, test } from "vitest";
import { infotextFor, parseInfotext } from "../../src/page/infotext";
import { openInfotext } from "../../src/page/openinfotext";
import { orderFor } from "../../src/page/order";
import { firstSettings, type Settings } from "../../src/page/settings";
import { fakeManifest, style } from "../manifest";

const hashed = (name: string, digit: string) =>
  style(name, { source_sha256: digit.repeat(64), models: ["unet", "text_encoder"] });
const plain = fakeManifest([
  hashed("miyazaki", "1"),
  hashed("gothic", "2"),
  hashed("cyberpunk", "3"),
]);
const [ddim] = plain.samplers;
if (!ddim) throw new Error("no sampler");
const ancestral = { ...ddim, name: "euler_a", title: "Euler ancestral" };
const manifest = { ...plain, samplers: [...plain.samplers, ancestral] };

const first = firstSettings(manifest);
const settings = (change: Partial<Settings>): Settings => ({ ...first, ...change });
const write = (chosen: Settings) => infotextFor(orderFor(chosen, manifest.styles ?? []), manifest);
const read = (text: string) => openInfotext(parseInfotext(text), manifest);
const mixed = {
  ...first.styles,
  miyazaki: { on: true, strength: 0.55 },
  gothic: { on: true, strength: 0.4, te: 0.2 },
};

test("the text is A1111's", () => {
  const chosen = settings({
    prompt: "a castle, (night:1.2)",
    negativePrompt: "people",
    sampler: "dpmpp-2m-karras",
    steps: 12,
    guidance: 4.5,
    seed: 77,
    clipSkip: 1,
    styles: mixed,
  });
  expect(write(chosen)).toBe(
    [
      "miyazaki style, gothic style, a castle, (night:1.2) <lora:miyazaki:0.55> <lora:gothic:0.2:0.4>",
      "Negative prompt: people",
      "Steps: 12, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4.5, Seed: 77, " +
        "Size: 128x128, Model hash: aaaaaaaaaa, Model: scenes, Clip skip: 2, " +
        'Lora hashes: "miyazaki: 1111111111, gothic: 2222222222", RNG: CPU, Version: brushlet',
    ].join("\n"),
  );
});

test("a picture to begin from leaves its denoising strength", () => {
  const image = { id: "1", name: "a.png", blob: new Blob(["x"]) };
  expect(write(settings({ image, imageStrength: 0.35 }))).toContain("Denoising strength: 0.35");
  expect(read(write(settings({ image }))).missed.image).toBe(true);
});

describe("what is written is read again", () => {
  test.each<[string, Partial<Settings>]>([
    ["as it comes", {}],
    ["a mix, with strengths on words", { styles: mixed }],
    ["no style", { styles: { ...first.styles, miyazaki: { on: false, strength: 0.8 } } }],
    ["two lines and stray commas", { prompt: "a castle, , clouds,\nnight," }],
    ["Chinese", { prompt: "一座城堡", negativePrompt: "人" }],
    ["a colon and a quote", { prompt: 'a sign: "open", night' }],
    ["an ancestral sampler", { sampler: "euler_a", steps: 9 }],
    ["a schedule", { sampler: "dpmpp-2m-karras", seed: 0xffff_ffff }],
    ["a size", { width: 96, height: 160, guidance: 1, clipSkip: 3 }],
    ["guidance on a part", { guidanceRange: [0.25, 0.8] }],
  ])("%s", (_, change) => {
    const chosen = settings(change);
    const { settings: opened, missed } = read(write(chosen));
    expect(missed).toEqual({ styles: [], image: false });
    expect(orderFor(opened, manifest.styles ?? [])).toEqual(
      orderFor(chosen, manifest.styles ?? []),
    );
    expect(opened.prompt).toBe(chosen.prompt);
  });
});

describe("texts of A1111", () => {
  const text = [
    "masterpiece <lora:gothic:0.7>, a castle <lora:unknown_v2:1>",
    "on a hill",
    "Negative prompt: people, text",
    "cars",
    "Steps: 30, Sampler: Euler a, CFG scale: 7, Seed: 123, Size: 512x768, Model hash: 6ce0161689, " +
      'Model: v1-5-pruned-emaonly, Clip skip: 2, Lora hashes: "gothic: 0123456789ab", Version: v1.10.1',
  ].join("\n");

  test("are opened as far as the bundle has it, and the rest is told", () => {
    const { settings: opened, missed } = read(text);
    expect(opened.prompt).toBe("masterpiece , a castle \non a hill");
    expect(opened.negativePrompt).toBe("people, text\ncars");
    expect(opened).toMatchObject({ steps: 30, sampler: "euler_a", guidance: 7, seed: 123 });
    expect(opened.clipSkip).toBe(1);
    expect(opened.styles.gothic).toMatchObject({ on: true, strength: 0.7 });
    expect(opened.styles.miyazaki?.on).toBe(false);
    expect(missed.styles).toEqual(["unknown_v2"]);
    expect(missed.size).toEqual({ width: 512, height: 768 });
    expect(missed.model).toBe("v1-5-pruned-emaonly");
  });

  test("of a sampler that is not here say so", () => {
    const { settings: opened, missed } = read("x\nSteps: 5, Sampler: DPM fast, Seed: 1");
    expect(missed.sampler).toBe("DPM fast");
    expect(opened.sampler).toBe("ddim");
  });

  test.each(["DPM++ 2M Karras", "dpmpp_2m_karras"])("the older way, %s", (sampler) => {
    const { settings: opened } = read(`x\nSteps: 5, Sampler: ${sampler}, Seed: 1`);
    expect(opened.sampler).toBe("dpmpp-2m-karras");
  });

  test("without fields are words alone", () => {
    expect(parseInfotext("a castle: big, wide").prompt).toBe("a castle: big, wide");
    expect(parseInfotext("").prompt).toBe("");
  });

  test("numbers that are none are left out, others are brought inside", () => {
    const { settings: opened } = read(
      "x\nSteps: 1e9, Sampler: DDIM, CFG scale: NaN, Seed: -1, Size: 0x0, Clip skip: 99",
    );
    expect(opened).toMatchObject({ steps: 50, guidance: first.guidance, seed: 0, clipSkip: 11 });
    expect([opened.width, opened.height]).toEqual([128, 128]);
  });

  test("made to take long do not", () => {
    const begun = performance.now();
    for (const part of ["<lora:", "a ", " ", 'a:"', "a:\\", ",", "Steps: 1, "]) {
      read(part.repeat(Math.floor(65_000 / part.length)));
    }
    expect(performance.now() - begun).toBeLessThan(20_000);
  });
});
