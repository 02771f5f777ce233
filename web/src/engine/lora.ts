/**
 * What a LoRA file says: its modules, in any key style that the bundle's grammar knows, and the slots
 * they belong to. The rules are those of runtime/lora.py; which suffix, kind or family there is, is
 * data (LoraGrammar).
 */

import type { LoraGrammar, LoraKind, Slot } from "../bundle/manifest.gen";
import type { Adapter } from "./adapters";
import { builders, withBias } from "./kinds";
import { type Configs, readConfigs } from "./loraconfig";
import type { LowRank } from "./lowrank";
import { EngineProblem, listed } from "./problems";
import type { StoredTensor, TensorFile } from "./tensorfile";

/** A slot's adapter whose low-rank form can be made. */
export interface SlotAdapter {
  slot: Slot;
  /** Of its low-rank form. */
  rank: number;
  /** Reads its tensors and makes the form. */
  form(): Promise<LowRank>;
}

type Refuse = (what: string) => EngineProblem;
/** Part -> its tensor. */
type Module = Map<string, StoredTensor>;

/**
 * The exact low-rank form of every module, by the slot it belongs to; nothing large is read yet.
 *
 * @param slots of every model that may be changed
 * @param peftConfig the text of PEFT's `adapter_config.json`, if it came along
 * @throws EngineProblem `lora`: keys of no module or no slot (the first are named), modules that are not
 *   whole, mixed or of other widths, kinds without a low-rank form, files of other models
 */
export async function readLora(
  file: TensorFile,
  grammar: LoraGrammar,
  slots: readonly Slot[],
  where: string,
  peftConfig?: string,
): Promise<SlotAdapter[]> {
  const refuse: Refuse = (what) => new EngineProblem("lora", `${where}: ${what}`, where);
  refuseUnsupported(file, grammar, refuse);
  const modules = grouped(file, grammar, refuse);
  const kinds = kindsOf(modules, grammar, refuse);
  const adapters = new Map<string, Adapter>();
  for (const [key, module] of modules) {
    const kind = kinds.get(key) as LoraKind;
    adapters.set(key, await build(file, key, module, kind, grammar, refuse));
  }
  const configs = readConfigs(file.metadata, peftConfig, where);
  return matched(file, adapters, configs, grammar, slots, refuse);
}

function refuseUnsupported({ tensors }: TensorFile, grammar: LoraGrammar, refuse: Refuse): void {
  const keys = [...tensors.keys()];
  for (const { name, pattern } of grammar.unsupported) {
    const found = keys.filter((key) => new RegExp(pattern).test(key));
    if (found.length === 0) continue;
    throw refuse(
      `is a ${name} file (${found.length} such keys, first ${found[0]}), not supported yet. ` +
        "Convert it to a plain LoRA, or train one.",
    );
  }
  if (keys.some((key) => new RegExp(`^(?:${grammar.checkpoint})`).test(key))) {
    throw refuse(
      "is a whole checkpoint, not a LoRA. Export it as the base model (BASE=), and drop LoRA files.",
    );
  }
}

function grouped({ tensors }: TensorFile, grammar: LoraGrammar, refuse: Refuse) {
  const suffixes = Object.entries(grammar.suffixes);
  const modules = new Map<string, Module>();
  const strangers: string[] = [];
  for (const [key, tensor] of tensors) {
    let [suffix, part] = suffixes.find(([suffix]) => key.endsWith(suffix)) ?? [];
    // LyCORIS calls the vector of (IA)^3 `weight`, as everybody calls everything.
    if (!suffix && tensors.has(`${key.replace(/\.weight$/, "")}.on_input`)) {
      [suffix, part] = [".weight", "weight"];
    }
    if (!suffix || !part) {
      strangers.push(key);
      continue;
    }
    const name = key.endsWith(suffix) ? key.slice(0, -suffix.length) : key;
    const module = modules.get(name) ?? new Map();
    const twin = module.get(part);
    if (twin) throw refuse(`${twin.key} and ${key} say the same thing twice. Keep one of them.`);
    modules.set(name, module.set(part, tensor));
  }
  if (strangers.length > 0) {
    const count = counted(strangers, "key");
    throw refuse(
      `${count} not part of any LoRA module: ${listed(strangers)}. Check that this is a LoRA file.`,
    );
  }
  if (modules.size === 0) throw refuse("has no tensors. Check that this is a LoRA file.");
  return modules;
}

/** Module key -> its kind, of modules that are whole and of one kind. */
function kindsOf(
  modules: ReadonlyMap<string, Module>,
  { kinds }: LoraGrammar,
  refuse: Refuse,
): Map<string, LoraKind> {
  const found = new Map<string, LoraKind>();
  const broken: string[] = [];
  for (const [key, module] of modules) {
    const endings = (parts: Iterable<string>) =>
      [...parts].map((part) => (module.get(part) as StoredTensor).key.slice(key.length)).join(", ");
    const own = kinds.filter(({ forms }) => forms.flat().some((part) => module.has(part)));
    const [kind, other] = own;
    const parts = new Set(kind?.forms.flat());
    const ofKind = [...module.keys()].filter((part) => parts.has(part));
    const isWhole = kind?.forms.some(
      (form) => form.length === ofKind.length && form.every((part) => module.has(part)),
    );
    const strays = [...module.keys()].filter(
      (part) => !parts.has(part) && !kind?.extras.includes(part),
    );
    if (other) broken.push(`${key} mixes ${own.map(({ name }) => name).join(" and ")}`);
    else if (!kind || !isWhole) broken.push(`${key} has only ${endings(module.keys())}`);
    else if (strays.length) broken.push(`${key} has ${endings(strays.sort())} beside ${kind.name}`);
    else found.set(key, kind);
  }
  if (broken.length === 0) return found;
  const count = counted(broken, "module");
  throw refuse(
    `${count} not whole or not of one kind: ${listed(broken, "; ")}. Download or save the file again.`,
  );
}

async function build(
  file: TensorFile,
  key: string,
  module: Module,
  kind: LoraKind,
  grammar: LoraGrammar,
  refuse: Refuse,
): Promise<Adapter> {
  const refuseModule = (what: string) => refuse(`module ${key}: ${what}`);
  const numbers = new Map<string, number>();
  for (const [part, tensor] of module) {
    if (!grammar.numbers.includes(part)) continue;
    if (tensor.shape.some((side) => side !== 1)) {
      const what = `${part} has the shape [${tensor.shape.join(", ")}], not one number`;
      throw refuseModule(`${what}. Save the LoRA again.`);
    }
    numbers.set(part, (await file.read(tensor))[0] as number);
  }
  const bias = module.get("diff_b");
  if (bias && (bias.shape.length !== 1 || !bias.isFloat)) {
    const what = `diff_b of the shape [${bias.shape.join(", ")}] is no [out] of floats`;
    throw refuseModule(`${what}. Save the LoRA again.`);
  }
  const arrays = [...module].filter(([part]) => !numbers.has(part) && part !== "diff_b");
  const areFloats = arrays.every(([, tensor]) => tensor.isFloat);
  const adapter = areFloats ? builders[kind.name]?.(module, numbers) : undefined;
  if (adapter) {
    // LyCORIS writes zeros where it trained no bias.
    const biased = bias && (await file.read(bias)).some((value) => value !== 0);
    return biased ? withBias(adapter, bias) : adapter;
  }
  const shapes = arrays
    .map(([part, { shape, dtype }]) => `${part} [${shape.join(", ")}] ${dtype}`)
    .join(", ");
  throw refuseModule(
    `${shapes} are no ${kind.name}, which is ${kind.shapes}. Save the LoRA again.`,
  );
}

function matched(
  file: TensorFile,
  adapters: ReadonlyMap<string, Adapter>,
  configs: Configs,
  grammar: LoraGrammar,
  slots: readonly Slot[],
  refuse: Refuse,
): SlotAdapter[] {
  const byAlias = new Map(slots.flatMap((slot) => slot.aliases.map((alias) => [alias, slot])));
  const unmatched = [...adapters.keys()].filter((key) => !byAlias.has(key));
  if (unmatched.length > 0) refuseUnmatched(unmatched, adapters, file, grammar, refuse);
  refuseOtherWidths(adapters, byAlias, refuse);
  const taken = new Set<Slot>();
  const found: SlotAdapter[] = [];
  const high = new Map<string, string[]>(); // why not -> slots
  for (const [key, adapter] of adapters) {
    const slot = byAlias.get(key) as Slot;
    if (taken.has(slot)) {
      throw refuse(
        `two modules adapt the same layer ${slot.name}; the second is ${key}. ` +
          "Merge them in the tool that wrote the file.",
      );
    }
    taken.add(slot);
    const { form: rank, lowRank } = adapter;
    if (rank === undefined || !lowRank) {
      const why = `${adapter.kind}: ${adapter.obstacle}`;
      high.set(why, [...(high.get(why) ?? []), slot.name]);
    } else {
      const scale = scaleOf(adapter, key, configs);
      found.push({ slot, rank, form: () => lowRank(scale, (tensor) => file.read(tensor)) });
    }
  }
  if (high.size === 0) return found;
  const reasons = [...high].map(([why, names]) => `${why} (${listed(names)})`).join("; ");
  const count = adapters.size - found.length;
  throw refuse(
    `${count} of ${adapters.size} modules have no exact low-rank form - ${reasons}. ` +
      "Export it with MODE=merged.",
  );
}

/** alpha / rank, times LyCORIS' `scalar`; no alpha means alpha = rank (kohya). */
function scaleOf({ kind, alpha, rank, scalar }: Adapter, key: string, configs: Configs): number {
  const config = configs(key);
  // PEFT, unlike LyCORIS, scales by alpha / rank where neither factor of a LoKr has a rank, too.
  if (config && alpha === undefined && rank === undefined && kind === "LoKr") {
    return config.scale(key);
  }
  if (rank === undefined) return scalar;
  const own = alpha ?? config?.effectiveAlpha(key, rank) ?? rank;
  return (own / rank) * scalar;
}

function refuseUnmatched(
  unmatched: readonly string[],
  adapters: ReadonlyMap<string, Adapter>,
  file: TensorFile,
  grammar: LoraGrammar,
  refuse: Refuse,
): never {
  const family = modelFamily([...adapters.keys()], file.metadata, grammar);
  if (family) {
    const what = `is a LoRA for ${family}, whose layers this base does not have`;
    throw refuse(`${what}. Use a LoRA that was trained on this base.`);
  }
  const text = unmatched.filter((key) =>
    grammar.text_encoders.some((start) => key.startsWith(start)),
  );
  const ofText = text.length
    ? `; ${text.length} of these adapt a text encoder, where this base's has no slot`
    : "";
  const wider = text.length < unmatched.length ? ", or export the base with a wider slot set" : "";
  throw refuse(
    `${unmatched.length} of ${adapters.size} modules match no slot: ${listed(unmatched)}${ofText}. ` +
      `Use a LoRA trained on this base${wider}.`,
  );
}

function refuseOtherWidths(
  adapters: ReadonlyMap<string, Adapter>,
  byAlias: ReadonlyMap<string, Slot>,
  refuse: Refuse,
): void {
  const wrong: string[] = [];
  for (const [key, adapter] of adapters) {
    const { kind, in_width, out_width } = byAlias.get(key) as Slot;
    const area = kind === "conv3x3" ? 9 : 1;
    const ins = in_width / area;
    if (adapter.fits(ins, area, out_width)) continue;
    const has = `${ins} -> ${out_width}${area === 9 ? " (3x3)" : ""}`;
    wrong.push(`${key} is ${adapter.size} where the base has ${has}`);
  }
  if (wrong.length === 0) return;
  const count = `${wrong.length} of ${adapters.size} modules have other widths`;
  throw refuse(`${count}: ${listed(wrong)}. Use a LoRA that was trained on this base.`);
}

/** The model family, other than Stable Diffusion 1 and 2, that a LoRA is for, if it shows. */
function modelFamily(
  moduleKeys: readonly string[],
  metadata: ReadonlyMap<string, string>,
  grammar: LoraGrammar,
): string | undefined {
  for (const { name, pattern } of grammar.families) {
    if (moduleKeys.some((key) => new RegExp(pattern).test(key))) return name;
  }
  for (const field of grammar.architecture_fields) {
    const said = (metadata.get(field) ?? "").toLowerCase();
    const known = grammar.architectures.find(({ start }) => said.startsWith(start));
    if (known) return known.family;
  }
  return undefined;
}

function counted(items: readonly string[], noun: string): string {
  return items.length === 1 ? `1 ${noun} is` : `${items.length} ${noun}s are`;
}
