/**
 * The alphas that PEFT keeps beside the weights instead of in `.alpha` tensors: in the file's metadata
 * (diffusers) or in `adapter_config.json` (PEFT itself). As runtime/_lora_config.py.
 */

import { EngineProblem, messageOf } from "./problems";

/** The scales of a PEFT config. */
export interface LoraConfig {
  /** The alpha for which alpha / rank is the scale that PEFT uses for a module. */
  effectiveAlpha(moduleKey: string, rank: number): number;
  /** alpha / rank of a module whose tensors do not show their rank. */
  scale(moduleKey: string): number;
}

/** Module key -> its config. */
export type Configs = (moduleKey: string) => LoraConfig | undefined;

type Fields = Readonly<Record<string, unknown>>;
type Patterns = readonly (readonly [string, number])[];

/**
 * @param beside the text of `adapter_config.json`, where the file is PEFT's `adapter_model.safetensors`
 * @throws EngineProblem `lora` when a config makes no sense
 */
export function readConfigs(
  metadata: ReadonlyMap<string, string>,
  beside: string | undefined,
  where: string,
): Configs {
  const text = metadata.get("lora_adapter_metadata");
  if (text) {
    const place = `${where}: lora_adapter_metadata`;
    const unet = parse(text, "unet.", place);
    const textEncoder = parse(text, "text_encoder.", place);
    return (key) => (key.startsWith("text_encoder.") ? textEncoder : unet);
  }
  const config = beside === undefined ? undefined : parse(beside, "", "adapter_config.json");
  return () => config;
}

function parse(text: string, prefix: string, where: string): LoraConfig | undefined {
  try {
    const fields = record(JSON.parse(text));
    const kind = ["lora_alpha", "alpha"].find((name) => Object.hasOwn(fields, prefix + name));
    if (!kind) return undefined;
    const alpha = number(fields[prefix + kind]);
    const alphas = patterns(fields, `${prefix}alpha_pattern`);
    const rank = positive(number(fields[`${prefix}r`] ?? 1));
    const ranks = patterns(fields, `${prefix}rank_pattern`);
    for (const [, value] of ranks) positive(value);
    const isStabilised = Boolean(fields[`${prefix}use_rslora`]);
    const alphaOf = (key: string) => ofModule(key, alphas, alpha);
    return {
      // rsLoRA (arXiv:2312.03732) scales by alpha / sqrt(rank).
      effectiveAlpha: (key, own) => alphaOf(key) * (isStabilised ? Math.sqrt(own) : 1),
      scale: (key) => alphaOf(key) / ofModule(key, ranks, rank),
    };
  } catch (thrown) {
    const what = `${where} is no PEFT LoRA config (${messageOf(thrown)}). Save the LoRA again.`;
    throw new EngineProblem("lora", what, where);
  }
}

function ofModule(moduleKey: string, named: Patterns, otherwise: number): number {
  return named.find(([name]) => `.${moduleKey}`.endsWith(`.${name}`))?.[1] ?? otherwise;
}

function patterns(fields: Fields, field: string): Patterns {
  return Object.entries(record(fields[field] || {})).map(
    ([pattern, value]) => [moduleName(pattern), number(value)] as const,
  );
}

function record(value: unknown): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new Error("a table is missing");
}

function number(value: unknown): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new Error(`${String(value).slice(0, 40)} is no number`);
}

function positive(rank: number): number {
  if (rank >= 1) return rank;
  throw new Error(`the rank ${rank} is not positive`);
}

/** PEFT takes any regular expression here; a stranger's is not one to run. Names are common. */
function moduleName(pattern: string): string {
  const name = pattern.replace(/^\^/, "").replace(/\$$/, "").replaceAll("\\.", ".");
  if (/^[\w.]+$/.test(name)) return name;
  throw new Error(`pattern ${pattern.slice(0, 80)} is not a plain module name`);
}
