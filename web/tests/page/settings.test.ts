import { describe, expect, test } from "vitest";
import { orderFor } from "../../src/page/order";
import {
  chooseSampler,
  firstSettings,
  rollSeed,
  setStrength,
  stylesOn,
  toggleStyle,
} from "../../src/page/settings";
import { promptToSend, triggerWords } from "../../src/page/triggers";
import { fakeManifest, style } from "./fake/manifest";

const manifest = fakeManifest();
const styles = manifest.styles ?? [];
const first = firstSettings(manifest);
const on = (settings: typeof first, all = styles) =>
  stylesOn(settings, all).map(({ name }) => name);

describe("first settings", () => {
  test("are a castle in Miyazaki's manner", () => {
    expect(orderFor(first, styles)).toEqual({
      prompt: "miyazaki style, a castle, clouds, green hills, day",
      negativePrompt: "",
      styles: [{ name: "miyazaki", strength: 0.8 }],
      seed: 1,
      steps: 20,
      guidance: 4,
      sampler: "ddim",
    });
  });

  test("take what there is when the bundle has other styles and samplers", () => {
    const other = fakeManifest([style("ink", { strength: { default: 0.5 } })]);
    other.samplers = other.samplers.slice(1, 2);
    const settings = firstSettings(other);
    expect(settings).toMatchObject({ sampler: "lcm", steps: 8 });
    expect(settings.styles).toEqual({ ink: { on: true, strength: 0.5 } });
  });

  test("are the base model's where there are no styles", () => {
    expect(orderFor(firstSettings(fakeManifest([])), []).styles).toEqual([]);
  });
});

describe("styles", () => {
  test("can be on together", () => {
    expect(on(toggleStyle(first, styles, "cyberpunk"))).toEqual(["miyazaki", "cyberpunk"]);
    expect(on(toggleStyle(first, styles, "miyazaki"))).toEqual([]);
  });

  test("keep their strength while they are off", () => {
    const moved = setStrength(first, "miyazaki", 0.35);
    const back = toggleStyle(toggleStyle(moved, styles, "miyazaki"), styles, "miyazaki");
    expect(back.styles.miyazaki).toEqual({ on: true, strength: 0.35 });
  });

  test("that are merged stand alone, at their fixed strength", () => {
    const merged = [...styles, style("ukiyo", { kind: "merged", merged_strength: 0.9 })];
    const start = firstSettings(fakeManifest(merged));
    const alone = toggleStyle(start, merged, "ukiyo");
    expect(orderFor(alone, merged).styles).toEqual([{ name: "ukiyo", strength: 0.9 }]);
    expect(on(toggleStyle(alone, merged, "gothic"), merged)).toEqual(["gothic"]);
  });

  test("that nobody knows change nothing", () => {
    expect(toggleStyle(first, styles, "nobody")).toBe(first);
    expect(setStrength(first, "nobody", 1)).toBe(first);
  });
});

describe("trigger words", () => {
  test("stand in front of the prompt, one style after another", () => {
    const both = toggleStyle(first, styles, "gothic");
    expect(triggerWords(both, styles)).toEqual(["miyazaki style", "gothic style"]);
    expect(promptToSend(both, styles)).toMatch(/^miyazaki style, gothic style, a castle, /);
  });

  test("are not sent at strength 0: the picture is the base picture", () => {
    const zero = setStrength(first, "miyazaki", 0);
    expect(promptToSend(zero, styles)).toBe("a castle, clouds, green hills, day");
  });

  test("are not said twice", () => {
    const said = { ...first, prompt: "a lake, Miyazaki Style" };
    expect(promptToSend(said, styles)).toBe("a lake, Miyazaki Style");
    const twins = [
      style("one", { trigger_words: ["ink"] }),
      style("two", { trigger_words: ["Ink"] }),
    ];
    const both = toggleStyle(firstSettings(fakeManifest(twins)), twins, "two");
    expect(triggerWords(both, twins)).toEqual(["ink"]);
  });

  test("are the whole prompt when the artist says nothing", () => {
    expect(promptToSend({ ...first, prompt: "  " }, styles)).toBe("miyazaki style");
  });
});

describe("another sampler", () => {
  test("brings its default when the steps were the old one's default", () => {
    const untouched = { ...first, steps: 25 };
    expect(chooseSampler(untouched, manifest, "lcm")).toMatchObject({ sampler: "lcm", steps: 4 });
  });

  test("keeps chosen steps as far as its tables go", () => {
    expect(chooseSampler(first, manifest, "lcm").steps).toBe(8);
    expect(chooseSampler(first, manifest, "dpmpp-2m-karras").steps).toBe(20);
  });
});

test("a rolled seed is a whole number that can be written down", () => {
  expect(rollSeed(() => 0)).toBe(0);
  expect(rollSeed(() => 0.999999999)).toBe(999_999);
});
