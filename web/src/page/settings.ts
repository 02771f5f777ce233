/** What the artist has chosen, and the rules that keep it within what the bundle offers. */

import type { Manifest, Sampler, Style } from "../bundle/manifest.gen";
import type { StyleChoice } from "../worker/protocol";

export interface StyleSetting {
  on: boolean;
  strength: number;
}

export interface Settings {
  prompt: string;
  negativePrompt: string;
  seed: number;
  steps: number;
  guidance: number;
  sampler: string;
  styles: Record<string, StyleSetting>;
}

/** Seeds of MT19937 are 32 bits wide. */
export const maxSeed = 0xffff_ffff;
export const maxGuidance = 30;

const wanted = { sampler: "ddim", steps: 20, style: "miyazaki" };

/** The strength a style starts at: what the bundle says, or what it was merged at. */
export function initialStrength(style: Style): number {
  if (style.kind === "merged") return style.merged_strength ?? 1;
  return style.strength?.default ?? 0.8;
}

export function samplerOf(manifest: Manifest, name: string): Sampler | undefined {
  return manifest.samplers.find((sampler) => sampler.name === name);
}

/** A castle in the green hills, in the first style of the house. */
export function firstSettings(manifest: Manifest): Settings {
  const sampler = samplerOf(manifest, wanted.sampler) ?? manifest.samplers[0];
  const styles = manifest.styles ?? [];
  const first = styles.find((style) => style.name === wanted.style) ?? styles[0];
  return {
    prompt: "a castle, clouds, green hills, day",
    negativePrompt: "",
    seed: 1,
    steps: Math.min(wanted.steps, sampler?.max_steps ?? wanted.steps),
    guidance: 4,
    sampler: sampler?.name ?? wanted.sampler,
    styles: Object.fromEntries(
      styles.map((style) => [
        style.name,
        { on: style === first, strength: initialStrength(style) },
      ]),
    ),
  };
}

/** Another sampler; a step count left at the old one's default follows to the new one's. */
export function chooseSampler(settings: Settings, manifest: Manifest, name: string): Settings {
  const before = samplerOf(manifest, settings.sampler);
  const after = samplerOf(manifest, name);
  if (!after) return settings;
  const untouched = settings.steps === before?.default_steps;
  const steps = untouched ? after.default_steps : Math.min(settings.steps, after.max_steps);
  return { ...settings, sampler: name, steps };
}

/**
 * Turns a style on or off. A merged style is a UNet of its own without LoRA inputs, so it
 * stands alone: turning it on turns the others off, and any other turns it off.
 */
export function toggleStyle(settings: Settings, styles: readonly Style[], name: string): Settings {
  const chosen = styles.find((style) => style.name === name);
  const setting = settings.styles[name];
  if (!chosen || !setting) return settings;
  const next = { ...settings.styles, [name]: { ...setting, on: !setting.on } };
  if (!setting.on) {
    for (const other of styles) {
      const was = next[other.name];
      if (other.name !== name && was && (chosen.kind === "merged" || other.kind === "merged")) {
        next[other.name] = { ...was, on: false };
      }
    }
  }
  return { ...settings, styles: next };
}

export function setStrength(settings: Settings, name: string, strength: number): Settings {
  const setting = settings.styles[name];
  if (!setting) return settings;
  return { ...settings, styles: { ...settings.styles, [name]: { ...setting, strength } } };
}

/** The styles that are on, in the bundle's order. */
export function stylesOn(settings: Settings, styles: readonly Style[]): Style[] {
  return styles.filter((style) => settings.styles[style.name]?.on);
}

/** What the worker is asked for. */
export function styleChoices(settings: Settings, styles: readonly Style[]): StyleChoice[] {
  return stylesOn(settings, styles).map(({ name }) => ({
    name,
    strength: settings.styles[name]?.strength ?? 0,
  }));
}

/** Seeds short enough to be written on the back of a print. */
export function rollSeed(random: () => number = Math.random): number {
  return Math.floor(random() * 1_000_000);
}
