import { expect, test } from "vitest";
import { formatBytes, formatError, formatSeconds, formatStrength } from "../../src/page/format";
import { fileName, hang, type Picture, shownAtMost } from "../../src/page/gallery";
import { wantedProvider } from "../../src/page/services";
import { report } from "./fake/services";

test("bytes", () => {
  expect(formatBytes(0, "en")).toBe("0 byte");
  expect(formatBytes(24_612_345, "en")).toBe("24.6 MB");
  expect(formatBytes(1_720_000_000, "zh")).toBe("1.7 GB");
});

test("seconds are rounded up: a wait is never shorter than promised", () => {
  expect(formatSeconds(0.2, "en")).toBe("1 sec");
  expect(formatSeconds(2.38, "en", true)).toBe("2.4 sec");
  expect(formatSeconds(80.1, "en")).toBe("1 min 21 sec");
  expect(formatSeconds(120, "en")).toBe("2 min");
});

test("errors and strengths", () => {
  expect(formatError(1.13e-6)).toBe("1.1e-6");
  expect(formatError(0)).toBe("0");
  expect(formatStrength(0.8000000000000002)).toBe("0.8");
});

const picture = (number: number): Picture => ({
  number,
  url: `blob:${number}`,
  order: {
    prompt: "",
    negativePrompt: "",
    styles: [
      { name: "miyazaki", strength: 0.8 },
      { name: "gothic", strength: 0 },
    ],
    textStyles: [],
    seed: 7,
    steps: 20,
    guidance: 4,
    sampler: "ddim",
    width: 128,
    height: 128,
    clipSkip: 0,
    guidanceRange: [0, 1],
    cacheInterval: 1,
  },
  settings: {} as Picture["settings"],
  notices: [],
  milliseconds: 1,
  provider: report,
});

test("the wall keeps the newest pictures and names those it lets go", () => {
  let pictures: Picture[] = [];
  const dropped: number[] = [];
  for (let number = 1; number <= shownAtMost + 2; number += 1) {
    const hung = hang(pictures, picture(number));
    pictures = hung.pictures;
    dropped.push(...hung.dropped.map(({ number }) => number));
  }
  expect(pictures).toHaveLength(shownAtMost);
  expect(pictures[0]?.number).toBe(shownAtMost + 2);
  expect(dropped).toEqual([1, 2]);
});

test("a downloaded file says what it is", () => {
  expect(fileName(picture(1))).toBe("brushlet-miyazaki-7.png");
});

test("the address can ask for one execution provider", () => {
  expect(wantedProvider("")).toBeUndefined();
  expect(wantedProvider("?provider=abacus")).toBeUndefined();
  expect(wantedProvider("?provider=wasm&threads=1")).toEqual({ provider: "wasm", threads: 1 });
  expect(wantedProvider("?provider=webgpu&compute=fp16&threads=no")).toEqual({
    provider: "webgpu",
    compute: "fp16",
  });
});
