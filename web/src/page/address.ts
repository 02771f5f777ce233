/**
 * Settings in the page's address, to be shared. They lie behind the `#`: what stands there is not
 * sent to any host, so that prompts stay with those who share them, and `?provider=` goes on.
 */

import type { Manifest, Style } from "../bundle/manifest.gen";
import { type Missed, missedSettings } from "./missed";
import {
  firstSettings,
  maxCacheInterval,
  maxClipSkip,
  maxGuidance,
  maxSeed,
  type Settings,
  type StyleSetting,
  settingsFor,
  writtenStrength,
} from "./settings";
import { styleCalled } from "./tags";

/** What reads and replaces the part of the address behind the `#`; tests put their own in. */
export interface Address {
  read(): string;
  replace(hash: string): void;
  /** Calls `changed` when somebody else has changed it; returns what ends that. */
  watch(changed: () => void): () => void;
}

export const addressBar: Address = {
  read: () => location.hash,
  replace(hash) {
    history.replaceState(history.state, "", `${location.pathname}${location.search}${hash}`);
  },
  watch(changed) {
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  },
};

/** Browsers take addresses of 64 kB and more, chats and mail cut them long before. */
const longestPrompt = 4000;

const short = (value: number) => String(Number(value.toFixed(4)));

/** `#prompt=…&styles=miyazaki:0.8`; empty while nothing was chosen. A source picture is no part. */
export function addressFor(settings: Settings, manifest: Manifest): string {
  const { image: _, ...told } = settings;
  if (JSON.stringify(told) === JSON.stringify(firstSettings(manifest))) return "";
  const first = firstSettings(manifest);
  const styles = Object.entries(settings.styles)
    .filter(([, { on }]) => on)
    .map(([name, { strength, te }]) => [name, strength, te].filter((part) => part !== undefined))
    .map(([name, ...strengths]) =>
      [name, ...strengths.map((part) => short(Number(part)))].join(":"),
    );
  const query = new URLSearchParams({ prompt: settings.prompt, styles: styles.join(",") });
  if (settings.negativePrompt) query.set("negative", settings.negativePrompt);
  query.set("seed", String(settings.seed));
  query.set("steps", String(settings.steps));
  query.set("guidance", short(settings.guidance));
  query.set("sampler", settings.sampler);
  const { width, height, clipSkip, guidanceRange, cacheInterval } = settings;
  if (width !== first.width || height !== first.height) query.set("size", `${width}x${height}`);
  if (clipSkip) query.set("clip", String(clipSkip));
  if (guidanceRange.join() !== "0,1") query.set("guided", guidanceRange.map(short).join("-"));
  if (cacheInterval > 1) query.set("cache", String(cacheInterval));
  return `#${query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":")}`;
}

export interface Linked {
  settings: Settings;
  missed: Missed;
}

/** What an address asks for, as far as it can be had; undefined where it asks for nothing. */
export function settingsIn(hash: string, manifest: Manifest): Linked | undefined {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  if (![...query.values()].some(Boolean)) return undefined;
  const first = firstSettings(manifest);
  const number = (name: string, min: number, max: number, otherwise: number) => {
    const value = Number(query.get(name) ?? Number.NaN);
    return Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : otherwise;
  };
  const whole = (...all: Parameters<typeof number>) => Math.round(number(...all));
  const [width, height] = numbersIn(query.get("size"), "x") ?? [first.width, first.height];
  const { styles, missed } = stylesIn(query.get("styles"), manifest.styles ?? [], first);
  const settings: Settings = {
    ...first,
    prompt: (query.get("prompt") ?? first.prompt).slice(0, longestPrompt),
    negativePrompt: (query.get("negative") ?? "").slice(0, longestPrompt),
    seed: whole("seed", 0, maxSeed, first.seed),
    steps: whole("steps", 1, 1000, first.steps),
    guidance: number("guidance", 1, maxGuidance, first.guidance),
    sampler: query.get("sampler") ?? first.sampler,
    clipSkip: whole("clip", 0, maxClipSkip, 0),
    guidanceRange: rangeIn(query.get("guided")),
    cacheInterval: whole("cache", 1, maxCacheInterval, 1),
    width,
    height,
    styles,
  };
  const lacking = { styles: missed, ...missedSettings(manifest, settings) };
  return { settings: settingsFor(manifest, settings), missed: lacking };
}

function numbersIn(text: string | null, between: string): [number, number] | undefined {
  const [one, other, ...more] = (text ?? "")
    .split(between)
    .map((part) => Number(part || Number.NaN));
  if (one === undefined || other === undefined || more.length) return undefined;
  return Number.isFinite(one) && Number.isFinite(other) ? [one, other] : undefined;
}

function rangeIn(text: string | null): [number, number] {
  const [from, to] = numbersIn(text, "-") ?? [0, 1];
  return from >= 0 && from < to && to <= 1 ? [from, to] : [0, 1];
}

/** `miyazaki:0.8,ink:0.5:0.3`: name, strength, and that on the words where it is another. */
function stylesIn(text: string | null, known: readonly Style[], first: Settings) {
  if (text === null) return { styles: first.styles, missed: [] };
  const styles = Object.fromEntries(
    Object.entries(first.styles).map(([name, setting]) => [name, { ...setting, on: false }]),
  );
  const missed: string[] = [];
  for (const [name = "", ...strengths] of text.split(",").map((part) => part.split(":"))) {
    const style = styleCalled(known, name);
    const was = style && styles[style.name];
    if (!style || !was) {
      if (name) missed.push(name);
      continue;
    }
    const [strength, te] = strengths.map(strengthIn);
    const chosen: StyleSetting = { ...was, on: true };
    if (strength !== undefined) chosen.strength = strength;
    if (te !== undefined) chosen.te = te;
    styles[style.name] = chosen;
  }
  return { styles, missed };
}

function strengthIn(text: string): number | undefined {
  const value = text === "" ? Number.NaN : Number(text);
  return Number.isFinite(value) ? writtenStrength(value) : undefined;
}
