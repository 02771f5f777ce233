/** A grid of pictures that differ in one or two settings: its axes, its cells, its names. */

import type { Manifest, Style } from "../bundle/manifest.gen";
import { formatStrength } from "./format";
import {
  chooseOnly,
  initialStrength,
  maxGuidance,
  maxSeed,
  type Settings,
  samplerOf,
  setStrength,
  strengthRange,
  stylesOn,
} from "./settings";

export type AxisKind = "strength" | "seed" | "steps" | "guidance" | "style";

/** One setting and the values that it takes; a style is named, all else is a number. */
export type Axis =
  | { kind: Exclude<AxisKind, "style">; values: number[] }
  | { kind: "style"; values: string[] };

export interface GridPlan {
  x: Axis;
  /** Absent: a single row. */
  y?: Axis;
}

export interface Cell {
  column: number;
  row: number;
  settings: Settings;
}

export const mostValues = 8;

/** Where a numeric axis can go, and where it begins. */
export interface Span {
  min: number;
  max: number;
  step: number;
  from: number;
  to: number;
}

/** The styles whose strength an axis moves: those that are on and have a slider. */
export function movable(settings: Settings, styles: readonly Style[]): Style[] {
  return stylesOn(settings, styles).filter(({ kind }) => kind === "external");
}

/** What an axis can be made of now. */
export function axisKinds(settings: Settings, styles: readonly Style[]): AxisKind[] {
  return [
    ...(movable(settings, styles).length ? (["strength"] as const) : []),
    "seed",
    "steps",
    "guidance",
    ...(styles.length > 1 ? (["style"] as const) : []),
  ];
}

export function spanOf(
  kind: Exclude<AxisKind, "style">,
  settings: Settings,
  manifest: Manifest,
): Span {
  if (kind === "strength") {
    const style = movable(settings, manifest.styles ?? [])[0];
    const [min, max] = strengthRange(
      style,
      ...(style ? [settings.styles[style.name]?.strength ?? 0] : []),
    );
    return { min, max, step: 0.05, from: min, to: Math.max(min, Math.min(max, 1.2)) };
  }
  if (kind === "steps") {
    const max = samplerOf(manifest, settings.sampler)?.max_steps ?? 50;
    return { min: 1, max, step: 1, from: Math.min(4, max), to: Math.min(max, settings.steps) };
  }
  if (kind === "guidance") return { min: 1, max: maxGuidance, step: 0.5, from: 1, to: 8 };
  const from = Math.min(settings.seed, maxSeed - mostValues);
  return { min: 0, max: maxSeed, step: 1, from, to: from };
}

/** `count` values from `from` to `to`, on the steps of the span, each once. */
export function valuesOf({ step, from, to }: Span, count: number): number[] {
  const even = Array.from({ length: count }, (_, index) => {
    const value = count === 1 ? from : from + ((to - from) * index) / (count - 1);
    return Number((Math.round(value / step) * step).toFixed(4));
  });
  return [...new Set(even)];
}

/** Seeds from `first` on. */
export function seedsFrom(first: number, count: number): number[] {
  const start = Math.min(first, maxSeed - count + 1);
  return Array.from({ length: count }, (_, index) => start + index);
}

/** The cells row by row, as they are painted. */
export function cellsOf(plan: GridPlan, settings: Settings, styles: readonly Style[]): Cell[] {
  const rows = plan.y ? plan.y.values.length : 1;
  return Array.from({ length: rows }, (_, row) =>
    plan.x.values.map((_, column) => {
      const across = withValue(settings, plan.x, column, styles);
      return {
        column,
        row,
        settings: plan.y ? withValue(across, plan.y, row, styles) : across,
      };
    }),
  ).flat();
}

function withValue(
  settings: Settings,
  axis: Axis,
  index: number,
  styles: readonly Style[],
): Settings {
  if (axis.kind === "style") {
    const name = axis.values[index] ?? "";
    // A strength that the other axis has set is what the style is drawn at.
    const strength = movable(settings, styles)[0];
    const chosen = chooseOnly(settings, styles, name);
    const style = styles.find((style) => style.name === name);
    if (!style || style.kind === "merged") return chosen;
    const own = strength ? settings.styles[strength.name]?.strength : undefined;
    return setStrength(chosen, name, { strength: own ?? initialStrength(style) });
  }
  const value = axis.values[index] ?? 0;
  if (axis.kind !== "strength") return { ...settings, [axis.kind]: value };
  return movable(settings, styles).reduce(
    (next, { name }) => setStrength(next, name, { strength: value }),
    settings,
  );
}

/** A value as it stands beside its row or above its column. */
export function valueName(axis: Axis, index: number, styles: readonly Style[]): string {
  const value = axis.values[index];
  if (typeof value === "number") return formatStrength(value);
  return styles.find(({ name }) => name === value)?.title ?? value ?? "";
}
