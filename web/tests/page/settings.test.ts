import { describe, expect, test } from "vitest";
import type { Style } from "../../src/bundle/manifest.gen";
import { orderFor } from "../../src/page/order";
import {
  chooseSampler,
  firstSettings,
  rollSeed,
  setStrength,
  settingsFor,
  stylesOn,
  toggleStyle,
} from "../../src/page/settings";
import { promptToSend, triggerWords } from "../../src/page/triggers";
import { fakeManifest, mergedStyle, style } from "../manifest";

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
      textStyles: [],
      seed: 1,
      steps: 25,
      guidance: 4,
      sampler: "ddim",
      width: 128,
      height: 128,
      clipSkip: 0,
      guidanceRange: [0, 1],
      cacheInterval: 1,
    });
  });

  test("take what there is when the bundle has other styles and samplers", () => {
    const other = fakeManifest([style("ink", { strength: { default: 0.5 } })]);
    other.samplers = other.samplers.slice(1, 2);
    const settings = firstSettings(other);
    expect(settings).toMatchObject({ sampler: "lcm", steps: 4 });
    expect(settings.styles).toEqual({ ink: { on: true, strength: 0.5 } });
  });

  test("are those its makers advise", () => {
    const turbo = { ...manifest, hints: { guidance_scale: 1, sampler: "lcm", steps: 1 } };
    expect(firstSettings(turbo)).toMatchObject({ sampler: "lcm", steps: 1, guidance: 1 });
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
    const moved = setStrength(first, "miyazaki", { strength: 0.35 });
    const back = toggleStyle(toggleStyle(moved, styles, "miyazaki"), styles, "miyazaki");
    expect(back.styles.miyazaki).toEqual({ on: true, strength: 0.35 });
  });

  test("that are merged stand alone, at their fixed strength", () => {
    const merged = [...styles, mergedStyle("ukiyo", 0.9)];
    const start = firstSettings(fakeManifest(merged));
    const alone = toggleStyle(start, merged, "ukiyo");
    expect(orderFor(alone, merged).styles).toEqual([{ name: "ukiyo", strength: 0.9 }]);
    expect(on(toggleStyle(alone, merged, "gothic"), merged)).toEqual(["gothic"]);
  });

  test("that nobody knows change nothing", () => {
    expect(toggleStyle(first, styles, "nobody")).toBe(first);
    expect(setStrength(first, "nobody", { strength: 1 })).toBe(first);
  });
});

describe("styles of the text encoder", () => {
  const models = ["unet", "text_encoder"] satisfies Style["models"];
  const both = style("ink", { models });
  const words = style("words", { models: ["text_encoder"] });
  const merged = { ...mergedStyle("oil", 0.9), models };
  const all = [style("plain"), both, words, merged];
  const start = firstSettings(fakeManifest(all));
  const painting = (names: string[], settings = start) =>
    orderFor(
      names.reduce((now, name) => toggleStyle(now, all, name), toggleStyle(settings, all, "plain")),
      all,
    );

  test("are told to the server, at the strength that their slider has", () => {
    expect(painting(["plain", "ink", "words"]).textStyles).toEqual([
      { name: "ink", te: 0.8 },
      { name: "words", te: 0.8 },
    ]);
    expect(painting(["oil"]).textStyles).toEqual([{ name: "oil", te: 0.9 }]);
    expect(painting(["plain"]).textStyles).toEqual([]);
  });

  test("may have a strength of their own there, which merged ones cannot", () => {
    const moved = setStrength(setStrength(start, "ink", { te: 0.3 }), "oil", { te: 0.3 });
    const order = painting(["ink"], moved);
    expect(order.textStyles).toEqual([{ name: "ink", te: 0.3 }]);
    expect(order.styles).toEqual([{ name: "ink", strength: 0.8 }]);
    expect(painting(["oil"], moved).textStyles).toEqual([{ name: "oil", te: 0.9 }]);
    expect(painting(["ink"], setStrength(start, "ink", { te: 0 })).textStyles).toEqual([]);
  });

  test("keep that strength in another bundle", () => {
    const moved = setStrength(start, "ink", { te: 0.3 });
    expect(settingsFor(fakeManifest(all), moved).styles.ink).toMatchObject({ te: 0.3 });
  });
});

describe("another bundle", () => {
  const chosen = {
    ...setStrength(first, "miyazaki", { strength: 0.35 }),
    prompt: "a lake",
    steps: 30,
  };

  test("keeps what was chosen, drops styles that are gone, and has new ones off", () => {
    const other = fakeManifest([style("miyazaki"), style("ink")]);
    expect(settingsFor(other, chosen)).toEqual({
      ...chosen,
      styles: { miyazaki: { on: true, strength: 0.35 }, ink: { on: false, strength: 0.8 } },
    });
  });

  test("has the sampler, steps and merged strength that it offers", () => {
    const other = fakeManifest([mergedStyle("miyazaki", 0.9)]);
    other.samplers = other.samplers.slice(1, 2);
    expect(settingsFor(other, chosen)).toMatchObject({
      sampler: "lcm",
      steps: 8,
      styles: { miyazaki: { on: true, strength: 0.9 } },
    });
  });

  test("is no other when it is the same", () => {
    expect(JSON.stringify(settingsFor(manifest, chosen))).toBe(JSON.stringify(chosen));
  });
});

describe("trigger words", () => {
  test("stand in front of the prompt, one style after another", () => {
    const both = toggleStyle(first, styles, "gothic");
    expect(triggerWords(both, styles)).toEqual(["miyazaki style", "gothic style"]);
    expect(promptToSend(both, styles)).toMatch(/^miyazaki style, gothic style, a castle, /);
  });

  test("are not sent at strength 0: the picture is the base picture", () => {
    const zero = setStrength(first, "miyazaki", { strength: 0 });
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
    expect(chooseSampler(first, manifest, "lcm")).toMatchObject({ sampler: "lcm", steps: 4 });
  });

  test("keeps chosen steps as far as its tables go", () => {
    const chosen = { ...first, steps: 30 };
    expect(chooseSampler(chosen, manifest, "lcm").steps).toBe(8);
    expect(chooseSampler(chosen, manifest, "dpmpp-2m-karras").steps).toBe(30);
  });
});

test("a rolled seed is a whole number that can be written down", () => {
  expect(rollSeed(() => 0)).toBe(0);
  expect(rollSeed(() => 0.999999999)).toBe(999_999);
});
