/** A LoRA file that a visitor brings, made a style of the bundle: its pack, and its entry. */

import type { FileRef, LoraGrammar, Manifest, SlotTable, Style } from "../bundle/manifest.gen";
import type { AddStyleRequest, BroughtFile, LocalStyle } from "../worker/protocol";
import { sha256 } from "./hash";
import { readLora } from "./lora";
import { planPack, writePack } from "./lorapack";
import { EngineProblem, stopIfAborted } from "./problems";
import { readDetails, stemOf } from "./styledetails";
import { TensorFile } from "./tensorfile";

/** Bytes; nothing of a larger file is read. Stable Diffusion 1.5 at rank 128 has 150 MB. */
export const MAX_FILE = 512 * 2 ** 20;
const MAX_SIDECAR = 2 ** 20;
const MAX_PICTURE = 4 * 2 ** 20;
const PIECE = 4 * 2 ** 20;

/** What a bundle says about LoRA files. */
export interface LoraRules {
  manifest: Manifest;
  grammar: LoraGrammar;
  /** Of every model that LoRAs change. */
  tables: readonly SlotTable[];
}

export interface MadeStyle {
  /** Its `pack.url` is a name, at which nothing can be fetched. */
  style: Style & { pack: FileRef };
  pack: Uint8Array<ArrayBuffer>;
  notes: LocalStyle["notes"];
}

/**
 * SHA-256 of the file, in pieces.
 *
 * @throws EngineProblem `lora` for a file that is too large, or that can no longer be read; `cancelled`
 */
export async function hashOf(
  { name, bytes }: BroughtFile,
  signal: AbortSignal | undefined,
): Promise<string> {
  const blob = asBlob(bytes);
  if (blob.size > MAX_FILE) {
    throw new EngineProblem(
      "lora",
      `${name} has ${Math.round(blob.size / 2 ** 20)} MiB; a browser takes LoRA files up to ` +
        `${MAX_FILE / 2 ** 20} MiB. Export it with \`python -m exporter\` instead.`,
      name,
    );
  }
  const hash = await sha256();
  for (let begin = 0; begin < blob.size; begin += PIECE) {
    stopIfAborted(signal);
    hash.update(await read(blob.slice(begin, begin + PIECE), name));
  }
  return hash.hex();
}

/**
 * The style of a file, with the exporter's pack of it.
 *
 * @param source SHA-256 of the file
 * @param named gives the name that the style may have, for the one it would like
 * @throws EngineProblem `lora` with the reason why it cannot be one; `cancelled`
 */
export async function makeStyle(
  request: AddStyleRequest,
  source: string,
  { manifest, grammar, tables }: LoraRules,
  named: (wanted: string) => string,
  signal?: AbortSignal,
): Promise<MadeStyle> {
  const where = request.name;
  const stem = stemOf(where);
  const file = await TensorFile.open(asBlob(request.bytes), where);
  const isPeft = where === "adapter_model.safetensors";
  const config = isPeft ? await textBeside(request, "adapter_config.json") : undefined;
  const slots = tables.flatMap((table) => table.slots);
  const adapters = await readLora(file, grammar, slots, where, config);
  const wanted = readDetails(where, file.metadata, await textBeside(request, `${stem}.json`));
  const details = { ...wanted, name: named(wanted.name) };
  const plan = planPack(adapters, tables, where);
  const said = {
    format: "brushlet-pack/1",
    name: details.name,
    title: details.title,
    trigger_words: JSON.stringify(details.trigger_words),
    strength: JSON.stringify(details.strength),
    base_hash: manifest.base_hash,
    base_name: manifest.name,
    rank: String(plan.rank),
    models: JSON.stringify(plan.models),
    source_sha256: source,
    license: details.license,
    description: details.description,
  };
  const pack = await writePack(adapters, said, where, signal);
  const hash = await sha256();
  hash.update(pack);
  const url = `on-this-device/${source}.safetensors`;
  const style: MadeStyle["style"] = {
    ...details,
    kind: "external",
    rank: plan.rank,
    models: plan.models,
    source_sha256: source,
    pack: { url, bytes: pack.length, sha256: hash.hex() },
    thumbnail: await thumbnail(request, stem),
  };
  const notes: LocalStyle["notes"] = [];
  const trainedOn = file.metadata.get(grammar.base_hash_field);
  if (trainedOn && trainedOn !== manifest.base_hash) {
    notes.push({
      code: "other-base",
      message:
        `${where} was trained on another base (${trainedOn.slice(0, 12)}, this one is ` +
        `${manifest.base_hash.slice(0, 12)}): its style may come out weaker or different.`,
    });
  }
  const hasAlpha = [...file.tensors.keys()].some((key) => key.endsWith(".alpha"));
  if (isPeft && config === undefined && !hasAlpha) {
    notes.push({
      code: "no-alpha",
      message:
        `${where} has its alpha in adapter_config.json, which did not come along: it is taken as ` +
        "the rank. Drop both files together if the style comes out too strong or too weak.",
    });
  }
  return { style, pack, notes };
}

function asBlob(bytes: BroughtFile["bytes"]): Blob {
  return bytes instanceof Blob ? bytes : new Blob([bytes]);
}

async function read(blob: Blob, name: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch {
    const message = `${name} can no longer be read: it was changed or moved. Drop it again.`;
    throw new EngineProblem("lora", message, name);
  }
}

async function textBeside(
  { beside = [] }: AddStyleRequest,
  name: string,
): Promise<string | undefined> {
  const found = beside.find((file) => file.name === name);
  if (!found) return undefined;
  const blob = asBlob(found.bytes);
  if (blob.size <= MAX_SIDECAR) return new TextDecoder().decode(await read(blob, name));
  throw new EngineProblem("lora", `${name} has over 1 MiB, too much for a sidecar.`, name);
}

const PICTURES = { png: "png", webp: "webp", jpg: "jpeg", jpeg: "jpeg" };

/** A picture of the same stem; its URL holds it whole, and so is absolute against any manifest. */
async function thumbnail({ beside = [] }: AddStyleRequest, stem: string): Promise<FileRef | null> {
  for (const kind of ["", ".preview"]) {
    for (const [ending, type] of Object.entries(PICTURES)) {
      const found = beside.find(({ name }) => name === `${stem}${kind}.${ending}`);
      const blob = found && asBlob(found.bytes);
      if (!blob || blob.size > MAX_PICTURE) continue;
      const bytes = await read(blob, found.name);
      const hash = await sha256();
      hash.update(bytes);
      const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
      const url = `data:image/${type};base64,${btoa(binary)}`;
      return { url, bytes: bytes.length, sha256: hash.hex() };
    }
  }
  return null;
}
