/**
 * A picture's settings as A1111 writes and reads them ("infotext": modules/processing.py,
 * `create_infotext`; modules/infotext_utils.py, `parse_generation_parameters`).
 */

import type { Manifest, Sampler } from "../bundle/manifest.gen";
import type { Order } from "./order";

/** The keyword of A1111's text in a PNG. */
export const keyword = "parameters";

/** Digits of a hash that A1111 and model sites show: "AutoV2". */
const hashDigits = 10;

/** What an infotext says, before any bundle is asked whether it has it. */
export interface Infotext {
  /** With its tags. */
  prompt: string;
  negativePrompt: string;
  /** `Steps`, `Sampler`, ..., unquoted, as they are spelled. */
  fields: ReadonlyMap<string, string>;
}

/** The text to keep with the picture that `order` made. */
export function infotextFor(order: Order, manifest: Manifest): string {
  const strengths = stylesOf(order);
  const tags = strengths.map(({ name, strength, te }) =>
    te === undefined
      ? `<lora:${name}:${short(strength)}>`
      : `<lora:${name}:${short(te)}:${short(strength)}>`,
  );
  const known = new Map(manifest.styles?.map((style) => [style.name, style]));
  const hashes = strengths.flatMap(({ name }) => {
    // Of the whole file. A1111's own leaves the header out, which a bundle has no hash of.
    const hash = known.get(name)?.source_sha256.slice(0, hashDigits);
    return hash ? [`${name}: ${hash}`] : [];
  });
  const sampler = manifest.samplers.find(({ name }) => name === order.sampler);
  const [samplerName, schedule] = namesOf(sampler?.title ?? order.sampler);
  const [from, to] = order.guidanceRange;
  const fields: [string, string | number | undefined][] = [
    ["Steps", order.steps],
    ["Sampler", samplerName],
    ["Schedule type", schedule],
    ["CFG scale", short(order.guidance)],
    ["Seed", order.seed],
    ["Size", `${order.width}x${order.height}`],
    ["Model hash", manifest.base_hash.slice(0, hashDigits)],
    ["Model", manifest.name],
    ["Denoising strength", order.image && short(order.imageStrength ?? 0)],
    ["Clip skip", order.clipSkip ? order.clipSkip + 1 : undefined],
    ["Guided", from > 0 || to < 1 ? `${short(from)}-${short(to)}` : undefined], // ours alone
    ["Cache interval", order.cacheInterval > 1 ? order.cacheInterval : undefined], // this too
    ["Lora hashes", hashes.join(", ") || undefined],
    ["RNG", "CPU"],
    ["Version", "brushlet"],
  ];
  const lines = [[order.prompt, ...tags].filter(Boolean).join(" ")];
  if (order.negativePrompt) lines.push(`Negative prompt: ${order.negativePrompt}`);
  const told = fields.filter(([, value]) => value !== undefined);
  lines.push(told.map(([name, value]) => `${name}: ${quoted(String(value))}`).join(", "));
  return lines.join("\n");
}

/** The styles that have a part in a picture; `te` where it is another than the UNet's. */
function stylesOf({ styles, textStyles }: Order) {
  const words = new Map(textStyles.map(({ name, te }) => [name, te]));
  return styles
    .map(({ name, strength }) => {
      const te = words.get(name) ?? strength; // A1111 has one for both unless told otherwise
      return { name, strength, te: te === strength ? undefined : te };
    })
    .filter(({ strength, te }) => strength !== 0 || te !== undefined);
}

/** A1111's `re_param`, with names held short, so that no text makes it look for long. */
const field = /(\w[\w \-/]{1,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g;

/** Characters; prompts are a hundredth of it. */
export const longestInfotext = 1 << 16;

/** A1111's rules: the last line has the fields if there are three or more of them. */
export function parseInfotext(text: string): Infotext {
  const lines = text.trim().split(/\r?\n/);
  const last = lines.at(-1) ?? "";
  const found = [...last.matchAll(field)];
  const fields = new Map<string, string>();
  if (found.length >= 3) {
    lines.pop();
    for (const [, name = "", value = ""] of found) fields.set(name, unquoted(value));
  }
  const parts = { prompt: [] as string[], negativePrompt: [] as string[] };
  let part: keyof typeof parts = "prompt";
  for (const line of lines.map((line) => line.trim())) {
    if (line.startsWith("Negative prompt:")) part = "negativePrompt";
    parts[part].push(line.replace(/^Negative prompt:\s*/, ""));
  }
  return {
    prompt: parts.prompt.join("\n").trim(),
    negativePrompt: parts.negativePrompt.join("\n").trim(),
    fields,
  };
}

/** The sampler that an infotext names, in A1111's old way ("Euler a Karras") and its new one. */
export function samplerIn(
  fields: ReadonlyMap<string, string>,
  samplers: readonly Sampler[],
): Sampler | undefined {
  const name = fields.get("Sampler") ?? "";
  const schedule = fields.get("Schedule type") ?? "";
  const wanted = plain(/^(automatic)?$/i.test(schedule) ? name : `${name} ${schedule}`);
  return samplers.find(({ name, title }) => [name, title].map(plain).includes(wanted));
}

/** Our `Euler ancestral` is A1111's `Euler a`; a schedule has a field of its own there. */
function namesOf(title: string): [sampler: string, schedule: string | undefined] {
  const [, name = title, schedule] = /^(.*?)(?: (Karras|Exponential))?$/.exec(title) ?? [];
  return [name.replace(/ ancestral$/i, " a"), schedule];
}

/** `DPM++ 2M Karras`, `dpmpp_2m_karras` and `Euler a` without what differs between them. */
const plain = (name: string) =>
  name
    .toLowerCase()
    .replaceAll("++", "pp")
    .replace("ancestral", "a")
    .replace(/[^a-z0-9]/g, "");

const short = (value: number) => String(Number(value.toFixed(4)));

/** As A1111's `quote`: JSON where a comma, a colon or a line break would end the field. */
const quoted = (value: string) => (/[,:\n]/.test(value) ? JSON.stringify(value) : value);

function unquoted(value: string): string {
  if (!/^".*"$/.test(value)) return value.trim();
  try {
    const text: unknown = JSON.parse(value);
    return typeof text === "string" ? text : value;
  } catch {
    return value;
  }
}
