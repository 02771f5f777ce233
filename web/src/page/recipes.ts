/**
 * Recipes: a mix of styles as a JSON file, in the form that `make export RECIPE=` reads
 * (exporter/recipe.py), with the page's own settings beside it.
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
  stylesOn,
  writtenStrength,
} from "./settings";
import { styleCalled } from "./tags";

/** The file's fields, as exporter/recipe.py names them. */
export interface Recipe {
  pack_name: string;
  loras: { name?: string; path: string; default_weight?: number }[];
  preview_image?: string;
  description?: string;
  settings?: Record<string, unknown>;
}

/** What can be said in a recipe's `settings`, with what it may be. */
const numbers = {
  seed: [0, maxSeed],
  steps: [1, 1000],
  guidance: [1, maxGuidance],
  width: [1, 65_536],
  height: [1, 65_536],
  clipSkip: [0, maxClipSkip],
  cacheInterval: [1, maxCacheInterval],
} as const;
const words = ["prompt", "negativePrompt", "sampler"] as const;

/** A LoRA's file, of which the page knows no more than the style's name. */
const fileOf = ({ name }: Style) => `${name}.safetensors`;

export function recipeFor(
  settings: Settings,
  styles: readonly Style[],
  about: { name: string; description: string },
): Recipe {
  const on = stylesOn(settings, styles);
  const te = on.flatMap(({ name }) => {
    const own = settings.styles[name]?.te;
    return own === undefined ? [] : [[name, own] as const];
  });
  const { image: _, imageStrength: __, styles: ___, ...told } = settings;
  return {
    pack_name: about.name,
    loras: on.map((style) => ({
      name: style.title,
      path: fileOf(style),
      default_weight: settings.styles[style.name]?.strength ?? 0,
    })),
    description: about.description,
    settings: { ...told, ...(te.length && { te: Object.fromEntries(te) }) },
  };
}

export interface OpenedRecipe {
  name: string;
  settings: Settings;
  /** Its `styles` are LoRAs that are none here. */
  missed: Missed;
}

/**
 * The settings that a recipe asks for; what it does not say stays as it is `now`.
 *
 * @throws Error whose message says what is wrong, and where
 */
export function openRecipe(text: string, manifest: Manifest, now: Settings): OpenedRecipe {
  const recipe = parse(text);
  const known = manifest.styles ?? [];
  const styles: Settings["styles"] = Object.fromEntries(
    Object.entries(firstSettings(manifest).styles).map(([name, was]) => [
      name,
      { ...was, on: false },
    ]),
  );
  const strange: string[] = [];
  const told = recipe.settings ?? {};
  for (const { name, path, default_weight = 1 } of recipe.loras) {
    const style = styleCalled(known, path.split(/[\\/]/).at(-1) ?? path) ?? byName(known, name);
    const was = style && styles[style.name];
    if (!style || !was) {
      strange.push(name || path);
      continue;
    }
    const te = isRecord(told.te) ? told.te[style.name] : undefined;
    const chosen: StyleSetting = { ...was, on: true, strength: writtenStrength(default_weight) };
    if (typeof te === "number" && Number.isFinite(te)) chosen.te = writtenStrength(te);
    styles[style.name] = chosen;
  }
  const settings: Settings = { ...now, styles };
  for (const field of words) {
    const value = told[field];
    if (typeof value === "string") settings[field] = value;
  }
  for (const [field, [min, max]] of Object.entries(numbers)) {
    const value = told[field];
    if (typeof value !== "number" || !Number.isFinite(value)) continue;
    const inside = Math.min(max, Math.max(min, value));
    settings[field as keyof typeof numbers] = field === "guidance" ? inside : Math.round(inside);
  }
  if (isRange(told.guidanceRange)) settings.guidanceRange = told.guidanceRange;
  const missed = { styles: strange, ...missedSettings(manifest, settings) };
  return { name: recipe.pack_name, settings: settingsFor(manifest, settings), missed };
}

const byName = (styles: readonly Style[], name: string | undefined) =>
  name === undefined ? undefined : styleCalled(styles, name);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isRange(value: unknown): value is [number, number] {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [from, to] = value as unknown[];
  return typeof from === "number" && typeof to === "number" && from >= 0 && from < to && to <= 1;
}

function parse(text: string): Recipe {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("It is not JSON.");
  }
  if (!isRecord(value)) throw new Error("It is not a JSON object.");
  const { pack_name, loras, settings } = value;
  if (typeof pack_name !== "string" || !pack_name) throw new Error("It has no “pack_name”.");
  if (!Array.isArray(loras) || loras.length === 0) throw new Error("It has no “loras”.");
  for (const [number, lora] of loras.entries()) {
    const where = `loras.${number}`;
    if (!isRecord(lora)) throw new Error(`${where} is no object.`);
    const { path, name, default_weight } = lora;
    if (typeof path !== "string" || !path) throw new Error(`${where} has no “path”.`);
    if (name !== undefined && typeof name !== "string")
      throw new Error(`${where}.name is no text.`);
    const weighed = default_weight === undefined || Number.isFinite(default_weight);
    if (!weighed) throw new Error(`${where}.default_weight is no number.`);
  }
  if (settings !== undefined && !isRecord(settings)) throw new Error("“settings” is no object.");
  return value as unknown as Recipe;
}

/** A name for a mix that has none yet: `Miyazaki + Gothic`. */
export function nameFor(settings: Settings, styles: readonly Style[]): string {
  return stylesOn(settings, styles)
    .map(({ title }) => title)
    .join(" + ");
}
