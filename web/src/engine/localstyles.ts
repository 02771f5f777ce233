/**
 * The styles that were made here from a visitor's files: among the bundle's styles while the bundle is
 * open, and kept by the browser for later visits to a bundle of the same base.
 */

import type { SlotTable, Style } from "../bundle/manifest.gen";
import type { AddStyleRequest, LocalStyle } from "../worker/protocol";
import { startWork, type Work } from "./downloads";
import { sha256 } from "./hash";
import { KeptStyles } from "./keptstyles";
import { hashOf, type LoraRules, makeStyle } from "./makestyle";
import { baseVariant, loadJson } from "./manifest";
import { EngineProblem, messageOf } from "./problems";
import { freeName } from "./styledetails";
import type { BundleParts } from "./variants";

export class LocalStyles {
  private readonly own = new Map<string, LocalStyle>();
  private rules: Omit<LoraRules, "manifest"> | undefined;
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly parts: BundleParts,
    private readonly store: KeptStyles | undefined,
  ) {}

  /** Adds the styles that the browser keeps for this base to the manifest of `parts`. */
  static async open(parts: BundleParts): Promise<LocalStyles> {
    const local = new LocalStyles(parts, await KeptStyles.open());
    const kept = (await local.store?.list(parts.manifest.base_hash).catch(() => [])) ?? [];
    for (const { style } of kept) {
      // The bundle may have got a style of this name, or of this very file, since.
      if (local.ofTheBundle(style.source_sha256)) continue;
      const name = local.freeName(style.name);
      local.list({ ...style, name, kept: "device", notes: [] }, undefined);
    }
    return local;
  }

  /** Fetches ahead what adding a file needs, so that it works offline, too. */
  async prepare(signal?: AbortSignal): Promise<void> {
    // What fails here is tried again, and told, when a file is added.
    const work = { ...startWork({}), signal };
    await this.loraRules({ name: "" }, work).catch(() => {});
  }

  /** In the order in which they were added. */
  get styles(): LocalStyle[] {
    return [...this.own.values()];
  }

  /**
   * Makes a LoRA file a style. The same file again is the same style.
   *
   * @throws EngineProblem `lora` with the reason why it cannot be one; `cancelled`; as `loadJson`
   */
  add(request: AddStyleRequest, work: Work): Promise<LocalStyle> {
    return this.inTurn(async () => {
      const source = await hashOf(request, work.signal);
      const known = this.styles.find((style) => style.source_sha256 === source);
      if (known) return known;
      const bundled = this.ofTheBundle(source);
      if (bundled) return { ...bundled, kept: "bundle", notes: [] };
      const rules = { manifest: this.parts.manifest, ...(await this.loraRules(request, work)) };
      const named = (wanted: string) => this.freeName(wanted);
      const { style, pack, notes } = await makeStyle(request, source, rules, named, work.signal);
      const failure = await this.keep(style, pack);
      if (failure) {
        const message = `${style.title} can be used now, but is gone with this page: ${failure}.`;
        notes.push({ code: "not-kept", message });
      }
      const local: LocalStyle = { ...style, kept: failure ? "memory" : "device", notes };
      this.list(local, failure ? pack : undefined);
      return local;
    });
  }

  /** @throws EngineProblem `request` for a style that was not made here */
  remove(name: string): Promise<void> {
    return this.inTurn(async () => {
      const style = this.own.get(name);
      if (!style?.pack) {
        const message = `The style ${name} was not made on this device, so it cannot be removed here.`;
        throw new EngineProblem("request", message, name);
      }
      if (style.kept === "device") await this.store?.remove(this.keyOf(style));
      this.own.delete(name);
      this.parts.files.provide(style.pack, undefined);
      const { styles = [] } = this.parts.manifest;
      const others = styles.filter((one) => one.name !== name);
      this.parts.manifest = { ...this.parts.manifest, styles: others };
    });
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work);
    this.turn = result.catch(() => {});
    return result;
  }

  private freeName(wanted: string): string {
    const { styles = [], unet } = this.parts.manifest;
    return freeName(wanted, new Set([...styles, ...unet].map(({ name }) => name)));
  }

  private ofTheBundle(source: string): Style | undefined {
    const { styles = [] } = this.parts.manifest;
    return styles.find(
      ({ name, kind, source_sha256 }) =>
        kind === "external" && source_sha256 === source && !this.own.has(name),
    );
  }

  private async loraRules(
    { name }: Pick<AddStyleRequest, "name">,
    work: Work,
  ): Promise<Omit<LoraRules, "manifest">> {
    if (this.rules) return this.rules;
    const { manifest, files, slots } = this.parts;
    if (!baseVariant(manifest).slots) {
      const message = "This bundle's model takes no styles: LoRA files cannot be added.";
      throw new EngineProblem("lora", message, name);
    }
    const grammar = await loadJson(files, manifest.lora, "LoraGrammar", work);
    const text = await loadJson(files, manifest.text_encoder.slots, "SlotTable", work);
    const unet: SlotTable = { model: "unet", slot_set: "full", slots: [...slots] };
    this.rules = { grammar, tables: [unet, text] };
    return this.rules;
  }

  /** Why the browser does not keep it; undefined when it does. */
  private async keep(style: Style, pack: Uint8Array<ArrayBuffer>): Promise<string | undefined> {
    if (!this.store) return "this browser keeps nothing for this site";
    const { base_hash, name: base_name } = this.parts.manifest;
    const kept = { key: this.keyOf(style), base_hash, base_name, added: Date.now(), style };
    try {
      await this.store.put(kept, pack);
      return undefined;
    } catch (thrown) {
      return `the browser does not keep it (${messageOf(thrown)})`;
    }
  }

  private keyOf({ source_sha256 }: Style): string {
    return `${source_sha256}-${this.parts.manifest.base_hash}`;
  }

  /** Puts a style among the bundle's. */
  private list(local: LocalStyle, pack: Uint8Array<ArrayBuffer> | undefined): void {
    const { kept, notes, ...style } = local;
    this.own.set(style.name, local);
    const { styles = [] } = this.parts.manifest;
    this.parts.manifest = { ...this.parts.manifest, styles: [...styles, style] };
    if (style.pack) this.parts.files.provide(style.pack, async () => pack ?? this.keptPack(style));
  }

  private async keptPack(style: Style): Promise<Uint8Array<ArrayBuffer>> {
    const pack = await this.store?.pack(this.keyOf(style)).catch(() => undefined);
    const hash = await sha256();
    if (pack) hash.update(pack);
    if (pack && hash.hex() === style.pack?.sha256) return pack;
    const message =
      `The style ${style.title} is gone from what the browser kept, or was altered there. ` +
      "Remove it, and drop its file again.";
    throw new EngineProblem("storage", message, style.name);
  }
}
