/** Settings as text: addresses, recipes, tags, slots. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { addressFor, settingsIn } from "../../src/page/address";
import { missesAny } from "../../src/page/missed";
import { openRecipe, recipeFor } from "../../src/page/recipes";
import { firstSettings, type Settings, setStrength, toggleStyle } from "../../src/page/settings";
import { fittingSize, shapesOf } from "../../src/page/sizes";
import { followTags } from "../../src/page/tags";
import { promptToSend } from "../../src/page/triggers";
import { fakeManifest, mergedStyle, style } from "../manifest";

const ink = style("ink", { models: ["unet", "text_encoder"], strength: { max: 2 } });
const manifest = fakeManifest([style("miyazaki"), style("gothic"), ink]);
const styles = manifest.styles ?? [];
const first = firstSettings(manifest);
const mixed: Settings = {
  ...setStrength(toggleStyle(first, styles, "ink"), "ink", { strength: 1.25, te: 0.3 }),
  prompt: '{trigger}, 湖, "mist" & <b>\n50 %',
  negativePrompt: "fog",
  seed: 4294967295,
  steps: 30,
  guidance: 7.5,
  sampler: "dpmpp-2m-karras",
  width: 112,
  height: 144,
  clipSkip: 2,
  guidanceRange: [0.1, 0.85],
  cacheInterval: 1,
};

describe("an address", () => {
  test("says all that was chosen, and brings it back", () => {
    const hash = addressFor(mixed, manifest);
    const missed = { styles: [] };
    expect(settingsIn(hash, manifest)).toEqual({ settings: mixed, missed });
    expect(missesAny(missed)).toBe(false);
    expect(hash).toContain("styles=miyazaki:0.8,ink:1.25:0.3");
  });

  test("is empty for what the bundle starts with", () => {
    expect(addressFor(first, manifest)).toBe("");
    expect(settingsIn("", manifest)).toBeUndefined();
    expect(settingsIn("#picture", manifest)).toBeUndefined();
  });

  test("cannot ask for what cannot be had", () => {
    const hash =
      "#seed=-4&steps=1e9&guidance=NaN&sampler=plms&size=13x9999999&clip=400&guided=0.9-0.2" +
      "&styles=miyazaki:1e9,ghost:1,gothic:x&prompt=" +
      "a".repeat(99_999);
    const found = settingsIn(hash, manifest);
    expect(found && missesAny(found.missed)).toBe(true);
    expect(found?.missed).toEqual({
      styles: ["ghost"],
      sampler: "plms",
      size: { width: 13, height: 9_999_999 },
    });
    expect(found?.settings).toMatchObject({
      seed: 0,
      steps: 50,
      guidance: first.guidance,
      sampler: first.sampler,
      width: first.width,
      height: first.height,
      clipSkip: 11,
      guidanceRange: [0, 1],
      cacheInterval: 1,
      styles: { miyazaki: { on: true, strength: 10 }, gothic: { on: true, strength: 0.8 } },
    });
    expect(found?.settings.prompt).toHaveLength(4000);
  });
});

describe("a recipe", () => {
  const about = { name: "Dusk", description: "Blue hours." };

  test("brings back the mix and the settings", () => {
    const text = JSON.stringify(recipeFor(mixed, styles, about));
    const opened = openRecipe(text, manifest, first);
    expect(opened).toEqual({ name: "Dusk", settings: mixed, missed: { styles: [] } });
  });

  test("is the form that the exporter reads (tests/exporter/test_recipe.py has the same file)", () => {
    const file = JSON.parse(readFileSync("tests/vectors/recipe.json", "utf8"));
    expect(recipeFor(mixed, styles, about)).toEqual(file);
  });

  test("leaves alone what it does not say, and asks for more than a slider has", () => {
    const text =
      '{"pack_name": "x", "loras": [{"path": "a/Gothic.safetensors", "default_weight": 9}]}';
    const { settings } = openRecipe(text, manifest, mixed);
    expect(settings.prompt).toBe(mixed.prompt);
    expect(settings.styles.gothic).toEqual({ on: true, strength: 9 });
    expect(settings.styles.ink?.on).toBe(false);
  });

  test.each([
    ["{", "not JSON"],
    ["[]", "no"],
    ['{"loras": [{"path": "a"}]}', "pack_name"],
    ['{"pack_name": "x", "loras": []}', "loras"],
    ['{"pack_name": "x", "loras": [{"name": "a"}]}', "loras.0"],
    ['{"pack_name": "x", "loras": [{"path": "a", "default_weight": "1"}]}', "default_weight"],
    ['{"pack_name": "x", "loras": [{"path": "a"}], "settings": 3}', "settings"],
  ])("that is none is refused: %s", (text, said) => {
    expect(() => openRecipe(text, manifest, first)).toThrow(said);
  });
});

describe("tags", () => {
  const follow = (prompt: string) => followTags({ ...first, prompt }, styles);

  test("may say the strength on the words apart", () => {
    const { settings } = follow("<lora:ink:0.2:0.9>a lake");
    expect(settings.styles.ink).toEqual({ on: true, strength: 0.9, te: 0.2 });
    expect(settings.prompt).toBe("a lake");
  });

  test("that come twice add up, as in A1111", () => {
    const { settings } = follow("<lora:gothic:0.5><lora:gothic:0.25>");
    expect(settings.styles.gothic?.strength).toBe(0.75);
    expect(settings.prompt).toBe("");
  });

  test("that are not finished, or name nobody, change nothing", () => {
    for (const prompt of ["a <lora:gothic:0.5", "a <lora:gothic:x>", "a <lora:ghost:1>"]) {
      expect(follow(prompt).settings.prompt).toBe(prompt);
      expect(follow(prompt).moved).toEqual([]);
    }
  });

  test("turn a merged style on, alone, at its own strength", () => {
    const all = [...styles, mergedStyle("ukiyo", 0.9)];
    const start = firstSettings(fakeManifest(all));
    const { settings } = followTags({ ...start, prompt: "<lora:ukiyo:0.1>" }, all);
    expect(settings.styles.ukiyo).toEqual({ on: true, strength: 0.9 });
    expect(settings.styles.miyazaki?.on).toBe(false);
  });
});

describe("the slot for trigger words", () => {
  const sent = (prompt: string, on = true) =>
    promptToSend({ ...(on ? first : toggleStyle(first, styles, "miyazaki")), prompt }, styles);

  test("is filled, wherever it stands", () => {
    expect(sent("a lake, ({trigger}:1.2), day")).toBe("a lake, (miyazaki style:1.2), day");
  });

  test.each([
    ["{trigger}, a lake", "a lake"],
    ["a lake, {trigger}", "a lake"],
    ["a lake, ({trigger}:1.2), day", "a lake, day"],
    ["{trigger}", ""],
  ])("goes with its comma when no style is on: %s", (prompt, left) => {
    expect(sent(prompt, false)).toBe(left);
  });
});

describe("shapes", () => {
  const model = { ...manifest.model, sample_size: 64 };

  test("are multiples of the latent pixel, and about as large as it was trained on", () => {
    for (const { width, height } of shapesOf(model)) {
      expect([width % 8, height % 8]).toEqual([0, 0]);
      expect(Math.abs((width * height) / 512 ** 2 - 1)).toBeLessThan(0.02);
    }
  });

  test("come once each where latents are few", () => {
    const few = { ...model, sample_size: 4 };
    expect(shapesOf(few).map(({ name }) => name)).toEqual(["square", "portrait", "landscape"]);
  });

  test("that cannot be drawn become the usual one", () => {
    const usual = { width: 512, height: 512 };
    expect(fittingSize(model, { width: 500, height: 512 })).toEqual(usual);
    expect(fittingSize(model, { width: 64_000, height: 512 })).toEqual(usual);
    expect(fittingSize(model, { width: 768, height: 512 })).toEqual({ width: 768, height: 512 });
  });
});
