import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const css = readFileSync("src/page/styles/tokens.css", "utf8");
const tokens = new Map(
  [...css.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)].map(
    ([, name, light, dark]) =>
      [name as string, { light: light as string, dark: dark as string }] as const,
  ),
);

/** WCAG 2.2, relative luminance of an sRGB colour. */
function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [dim, bright] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [
    number,
    number,
  ];
  return (bright + 0.05) / (dim + 0.05);
}

const text: [string, string][] = [
  ["ink", "paper"],
  ["ink", "sheet"],
  ["ink", "danger-wash"],
  ["ink-soft", "paper"],
  ["ink-soft", "sheet"],
  ["ink-soft", "danger-wash"],
  ["ink-soft", "line"], // the disabled Generate button
  ["accent-strong", "sheet"],
  ["accent-strong", "paper"],
  ["accent-strong", "accent-wash"],
  ["ink", "mat"],
  ["on-accent", "accent"],
  ["on-accent", "accent-strong"],
];
/** Edges and marks that a control is recognised by. */
const marks: [string, string][] = [
  ["edge", "paper"],
  ["edge", "sheet"],
  ["accent", "paper"],
  ["accent", "sheet"],
  ["danger", "paper"],
  ["danger", "danger-wash"],
  ["accent-strong", "accent-wash"],
  ...[1, 2, 3, 4, 5].flatMap((number): [string, string][] => [
    [`share-${number}`, "paper"],
    [`share-${number}`, "sheet"],
  ]),
];

describe.each(["light", "dark"] as const)("WCAG AA contrast, %s", (scheme) => {
  const colour = (name: string) => tokens.get(name)?.[scheme] ?? "missing";

  test.each(text)("%s on %s reads", (front, back) => {
    expect(contrast(colour(front), colour(back))).toBeGreaterThanOrEqual(4.5);
  });

  test.each(marks)("%s stands out from %s", (front, back) => {
    expect(contrast(colour(front), colour(back))).toBeGreaterThanOrEqual(3);
  });
});
