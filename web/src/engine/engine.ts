/**
 * A bundle that denoises: opened once, then any number of pictures with any of its styles. Needs
 * neither React nor a page; it is meant to live in a worker, where its long computations block nobody.
 */

import type { Manifest, Sampler, SamplerTables, Style } from "../bundle/manifest.gen";
import type {
  DenoiseRequest,
  DenoiseResult,
  LoadRequest,
  ProviderReport,
  StepReport,
} from "../worker/protocol";
import { denoise } from "./denoise";
import { type DownloadHooks, Files, startWork, type Work } from "./downloads";
import { baseVariant, loadJson, loadManifest, styleNamed } from "./manifest";
import { NoiseGenerator } from "./noise";
import { type Pack, readPack, stack } from "./packs";
import { latentsToRgba } from "./preview";
import { EngineProblem } from "./problems";
import { type Candidate, type Device, listCandidates, probeDevice } from "./providers";
import { checkRequest, planStyles, type StylePlan, samplerNamed } from "./requests";
import { tableFor } from "./samplers";
import type { LoraFeeds } from "./unet";
import { type BundleParts, type OpenVariant, openVariant } from "./variants";

/**
 * Bytes of weights up to which a switch between base and merged styles costs no loading. Above, only
 * the variant in use is held: WebAssembly ends at 4 GiB.
 */
const SMALL = 256 * 2 ** 20;

export interface DenoiseHooks extends DownloadHooks {
  onStep?: (step: StepReport) => void;
}

export class Engine {
  private readonly variants = new Map<string, OpenVariant>();
  private readonly packs = new Map<string, Pack>();
  private readonly samplers = new Map<string, SamplerTables>();
  /** The last LoRA inputs, by styles and strengths: most pictures repeat them. */
  private lastLora: { key: string; feeds: LoraFeeds } | undefined;
  private baseReport: ProviderReport | undefined;
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly parts: BundleParts,
    private readonly device: Device,
    private readonly wanted: LoadRequest["providers"],
  ) {}

  /**
   * Opens a bundle and its base model on the first provider that passes the golden vector.
   *
   * @throws EngineProblem `manifest`, `network`, `damaged`, `no-provider` or `cancelled`
   */
  static async open(request: LoadRequest, hooks: DownloadHooks = {}): Promise<Engine> {
    const { manifestUrl, runtimeUrl, providers } = request;
    const work = startWork(hooks);
    work.tally.report("manifest", "manifest.json");
    const manifest = await loadManifest(manifestUrl, hooks.signal);
    const files = new Files(manifestUrl);
    const { slots } = await loadJson(files, manifest.slots, "SlotTable", work);
    const parts = { manifest, slots, files, runtimeUrl };
    const engine = new Engine(parts, await probeDevice(), providers);
    engine.baseReport = (await engine.variant(baseVariant(manifest).name, work)).report;
    return engine;
  }

  get manifest(): Manifest {
    return this.parts.manifest;
  }

  /** Which provider runs the base model, and its distance from PyTorch. */
  get report(): ProviderReport {
    return this.baseReport as ProviderReport; // there since `open`
  }

  /**
   * Denoises one picture's latents. Requests are taken one after another.
   *
   * @throws EngineProblem `request`, `wrong-base`, `network`, `damaged`, `numbers`, `no-provider`, or
   *   `cancelled` within one UNet step of the abort
   */
  denoise(request: DenoiseRequest, hooks: DenoiseHooks = {}): Promise<DenoiseResult> {
    const result = this.turn.then(() => this.denoiseNow(request, hooks));
    this.turn = result.catch(() => {});
    return result;
  }

  /** Fetches and checks a style ahead of its first use. @throws EngineProblem as `denoise` */
  async prefetchStyle(name: string, hooks: DownloadHooks = {}): Promise<void> {
    const style = styleNamed(this.manifest, name);
    const work = startWork(hooks);
    if (style.kind === "external") await this.pack(style, work);
    else {
      const opened = this.turn.then(() => this.variant(variantOf(style), work));
      this.turn = opened.catch(() => {});
      await opened;
    }
  }

  private async denoiseNow(request: DenoiseRequest, hooks: DenoiseHooks): Promise<DenoiseResult> {
    const { model } = this.manifest;
    const work = startWork(hooks);
    checkRequest(this.manifest, request);
    const plan = planStyles(this.manifest, request.styles);
    const sampler = samplerNamed(this.manifest, request.sampler);
    const table = tableFor(await this.tables(sampler, work), request.steps);
    const name = plan.merged ? variantOf(plan.merged) : baseVariant(this.manifest).name;
    const opened = await this.variant(name, work);
    const lora = await this.lora(opened, plan, work);

    const began = performance.now();
    const { height, width, preview } = request;
    const latents = await denoise(
      {
        table,
        noise: new NoiseGenerator(request.seed),
        shape: [model.latent_channels, height, width],
        guidanceScale: request.guidanceScale,
        promptEmbeds: asTensor(request.promptEmbeds),
        negativePromptEmbeds: asTensor(request.negativePromptEmbeds),
      },
      (sample, timestep, embeds) => opened.unet.run(sample, timestep, embeds, lora),
      {
        signal: hooks.signal,
        onStep({ next, ...report }) {
          if (!preview) hooks.onStep?.(report);
          else {
            const rgba = latentsToRgba(next(), model.latent_rgb, height, width);
            hooks.onStep?.({ ...report, preview: { rgba, width, height } });
          }
        },
      },
    );
    return { latents, milliseconds: performance.now() - began, provider: opened.report };
  }

  /** A variant ready to run; other variants try the provider first that already runs. */
  private async variant(name: string, work: Work): Promise<OpenVariant> {
    const known = this.variants.get(name);
    if (known) return known;
    const variant = this.manifest.unet.find((variant) => variant.name === name);
    if (!variant) {
      throw new EngineProblem(
        "manifest",
        `The bundle lists no UNet ${name}. Export it again.`,
        name,
      );
    }
    const { candidates, refused } = listCandidates(variant, this.device, this.wanted);
    const running = [...this.variants.values()][0]?.candidate;
    const order = running ? [...candidates].sort(preferring(running)) : candidates;
    if (!this.isSmall) await this.releaseVariants();
    const opened = await openVariant(this.parts, variant, order, refused, work);
    this.variants.set(name, opened);
    // The session has its own copy; shards are asked for again only by other variants.
    if (!this.isSmall || this.manifest.unet.length === 1) {
      for (const shard of Object.values(this.manifest.shards)) this.parts.files.drop(shard);
    }
    return opened;
  }

  /** Whether several variants' sessions, and the shards beside them, may stay in memory. */
  private get isSmall(): boolean {
    const shards = Object.values(this.manifest.shards);
    return shards.reduce((sum, { bytes }) => sum + bytes, 0) <= SMALL;
  }

  private async releaseVariants(): Promise<void> {
    for (const [name, { unet }] of this.variants) {
      this.variants.delete(name);
      await unet.release();
    }
  }

  private async lora(
    { variant, unet }: OpenVariant,
    { external }: StylePlan,
    work: Work,
  ): Promise<LoraFeeds> {
    if (!variant.slots) {
      const first = external[0];
      if (!first) return {};
      const message = `This bundle's model takes no styles, so ${first.style.name} cannot be used.`;
      throw new EngineProblem("request", message, first.style.name);
    }
    const key = JSON.stringify(external.map(({ style, strength }) => [style.name, strength]));
    if (this.lastLora?.key === key) return this.lastLora.feeds;
    const styles = [];
    for (const { style, strength } of external) {
      styles.push({ pack: await this.pack(style, work), strength });
    }
    const feeds = unet.prepareLora(stack(styles, this.parts.slots));
    this.lastLora = { key, feeds };
    return feeds;
  }

  private async pack(style: Style, work: Work): Promise<Pack> {
    const known = this.packs.get(style.name);
    if (known) return known;
    if (!style.pack) {
      const message = `The style ${style.name} has no pack. Export it again.`;
      throw new EngineProblem("manifest", message, style.name);
    }
    const bytes = await this.parts.files.get(style.pack, "style", work);
    const pack = readPack(bytes, this.manifest, this.parts.slots, style.name);
    this.parts.files.drop(style.pack);
    this.packs.set(style.name, pack);
    return pack;
  }

  private async tables({ name, file }: Sampler, work: Work): Promise<SamplerTables> {
    const known = this.samplers.get(name);
    if (known) return known;
    const tables = await loadJson(this.parts.files, file, "SamplerTables", work);
    this.samplers.set(name, tables);
    return tables;
  }
}

function variantOf(style: Style): string {
  if (style.variant) return style.variant;
  const message = `The merged style ${style.name} names no UNet. Export it again.`;
  throw new EngineProblem("manifest", message, style.name);
}

/** Sorts the candidates of the running provider, precision and attention to the front. */
function preferring({ provider, threads, graph }: Candidate) {
  const distance = (other: Candidate) =>
    (other.provider === provider && other.threads === threads ? 0 : 4) +
    (other.graph.compute === graph.compute ? 0 : 2) +
    (other.graph.attention === graph.attention ? 0 : 1);
  return (a: Candidate, b: Candidate) => distance(a) - distance(b);
}

function asTensor({ data, shape }: DenoiseRequest["promptEmbeds"]) {
  return { data: data as Float32Array<ArrayBuffer>, shape };
}
