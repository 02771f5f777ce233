/**
 * How a style from a file is called and shown: from the A1111 sidecar that came along, else from the
 * file's own metadata. As exporter/details.py and sidecar.py.
 */

import type { Strength, Style } from "../bundle/manifest.gen";
import { EngineProblem } from "./problems";

export type StyleDetails = Pick<Style, "name" | "title"> &
  Required<Pick<Style, "trigger_words" | "description" | "license" | "negative_prompt">> & {
    strength: Required<Strength>;
  };

/** The usual range of a slider: runtime.manifest.Strength. */
const USUAL = { default: 0.8, min: 0, max: 1.5 };

/**
 * @param fileName of the LoRA
 * @param sidecar the text of `<stem>.json`, if it came along
 * @throws EngineProblem `lora` when the sidecar is not JSON of that form; the field is named
 */
export function readDetails(
  fileName: string,
  metadata: ReadonlyMap<string, string>,
  sidecar: string | undefined,
): StyleDetails {
  const stem = stemOf(fileName);
  const said = sidecar === undefined ? {} : readSidecar(sidecar, `${stem}.json`);
  const triggers = said["activation text"] || metadata.get("modelspec.trigger_phrase") || "";
  const preferred = said["preferred weight"]; // A1111 writes 0 where none is set
  return {
    name: slug(stem),
    title: metadata.get("modelspec.title") || stem,
    trigger_words: triggers
      .split(",")
      .map((word) => word.trim())
      .filter(Boolean),
    strength: preferred
      ? {
          default: preferred,
          min: Math.min(USUAL.min, preferred),
          max: Math.max(USUAL.max, preferred),
        }
      : USUAL,
    description: said.description || metadata.get("modelspec.description") || "",
    license: metadata.get("modelspec.license") ?? "",
    negative_prompt: said["negative text"] || "",
  };
}

/** The file's name without its last ending. */
export function stemOf(fileName: string): string {
  return fileName.replace(/(?!^)\.[^.]*$/, "");
}

/** A name that is not taken: `ink`, `ink-2`, `ink-3` ... */
export function freeName(wanted: string, taken: ReadonlySet<string>): string {
  let name = wanted;
  for (let count = 2; taken.has(name); count++) name = `${wanted}-${count}`;
  return name;
}

/** Lower-case letters, digits, `-` and `_`, starting with a letter or digit. */
function slug(text: string): string {
  const plain = text.toLowerCase().replace(/[^a-z0-9_]+/g, "-");
  return plain.replace(/^[-_]+|[-_]+$/g, "") || "style";
}

interface Sidecar {
  description?: string | null;
  "activation text"?: string | null;
  "negative text"?: string | null;
  "preferred weight"?: number | null;
}

const FIELDS = {
  description: "string",
  "activation text": "string",
  "negative text": "string",
  "preferred weight": "number",
} as const;

function readSidecar(text: string, where: string): Sidecar {
  const refuse = (what: string) =>
    new EngineProblem("lora", `${where} ${what}. Correct it, or drop the LoRA without it.`, where);
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    throw refuse("is not JSON");
  }
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw refuse("is not a JSON object");
  }
  for (const [field, type] of Object.entries(FIELDS)) {
    const value = (fields as Record<string, unknown>)[field] ?? null;
    if (value !== null && typeof value !== type) throw refuse(`has no ${type} in \`${field}\``);
  }
  return fields as Sidecar;
}
