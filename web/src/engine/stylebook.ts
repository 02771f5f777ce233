/** The external styles of an open bundle: their packs, what the graph is fed of them, their shares. */

import type { Style } from "../bundle/manifest.gen";
import type { CallRequest, Contribution } from "../worker/protocol";
import type { Work } from "./downloads";
import { styleNamed } from "./manifest";
import {
  inUse,
  type Pack,
  rankBucket,
  readPack,
  type Stacked,
  stack,
  totalRank,
  type Used,
} from "./packs";
import { EngineProblem } from "./problems";
import type { StylePlan } from "./requests";
import { onGpu } from "./runtimes";
import type { Tensor } from "./safetensors";
import { type Chosen, measureNorms, type Norms, shares } from "./shares";
import type { BundleParts, OpenVariant } from "./variants";

export class StyleBook {
  private readonly packs = new Map<string, Pack>();
  private readonly norms = new Map<string, Norms>();
  /** The last LoRA inputs, by styles and strengths: most pictures repeat them. */
  private last: (Stacked & { key: string }) | undefined;

  constructor(private readonly parts: BundleParts) {}

  /**
   * The LoRA inputs of the graph for the styles of a picture; strengths of the last one cost the B's alone.
   *
   * @throws EngineProblem `request` where the model takes no styles; as `pack`
   */
  async inputs(
    { variant, candidate }: OpenVariant,
    { external }: StylePlan,
    work: Work,
  ): Promise<ReadonlyMap<string, Tensor>> {
    if (!variant.slots) {
      const first = external[0];
      if (!first) return new Map();
      const message = `This bundle's model takes no styles, so ${first.style.name} cannot be used.`;
      throw new EngineProblem("request", message, first.style.name);
    }
    const styles: Used[] = [];
    for (const { style, strength } of external) {
      styles.push({ pack: await this.pack(style, work), strength });
    }
    const own = totalRank(inUse(styles));
    const rank = onGpu(candidate.provider) ? rankBucket(own) : own;
    const key = JSON.stringify([
      rank,
      external.map(({ style, strength }) => [style.name, strength]),
    ]);
    if (this.last?.key === key) return this.last.inputs;
    const inputs = stack(styles, this.parts.slots, rank, this.last);
    this.last = { key, styles, rank, inputs };
    return inputs;
  }

  /** @throws EngineProblem `manifest`, `wrong-base`, `network`, `damaged` or `cancelled` */
  async pack(style: Style, work: Work): Promise<Pack> {
    const known = this.packs.get(style.name);
    if (known) return known;
    if (!style.pack) {
      const message = `The style ${style.name} has no pack. Export it again.`;
      throw new EngineProblem("manifest", message, style.name);
    }
    const bytes = await this.parts.files.get(style.pack, "style", work);
    const pack = readPack(bytes, this.parts.manifest, this.parts.slots, style.name);
    this.parts.files.drop(style.pack);
    this.packs.set(style.name, pack);
    return pack;
  }

  /** How much each of the styles changes the model. @throws EngineProblem `request`; as `pack` */
  async contributions(choices: CallRequest<"contributions">, work: Work): Promise<Contribution[]> {
    const chosen: Chosen[] = [];
    for (const { name, strength, te = strength } of choices) {
      const style = styleNamed(this.parts.manifest, name);
      const norms = style.kind === "external" ? await this.normsOf(style, work) : undefined;
      chosen.push({ name, strength, te, ...(norms && { norms }) });
    }
    return shares(chosen);
  }

  /** Of a style that is removed. */
  forget(name: string): void {
    this.packs.delete(name);
    this.norms.delete(name);
    this.last = undefined;
  }

  private async normsOf(style: Style, work: Work): Promise<Norms> {
    const known = this.norms.get(style.name);
    if (known) return known;
    const norms = await measureNorms(this.parts, style, work);
    this.norms.set(style.name, norms);
    return norms;
  }
}
