/**
 * A bundle that denoises: opened once, then any number of pictures with any of its styles. Needs
 * neither React nor a page; it is meant to live in a worker, where its long computations block nobody.
 */

import type { Manifest, Sampler, SamplerTables, Style } from "../bundle/manifest.gen";
import type {
  AddStyleRequest,
  CallRequest,
  Contribution,
  DenoiseRequest,
  DenoiseResult,
  LoadProgress,
  LoadRequest,
  LocalStyle,
  Notice,
  ProviderReport,
  StepReport,
  StorageReport,
  TextRequest,
  TextResult,
  WirePicture,
  WireTensor,
} from "../worker/protocol";
import { denoise } from "./denoise";
import { type DownloadHooks, Files, startWork, type Work } from "./downloads";
import { Failures, onSomeProvider, type Providers } from "./fallback";
import { guidanceCondition } from "./guidance";
import { drawLatents, firstCall } from "./imagetoimage";
import { LocalStyles } from "./localstyles";
import { baseVariant, changes, loadJson, openManifest, styleNamed } from "./manifest";
import { NoiseGenerator } from "./noise";
import { partFiles } from "./part";
import { latentsToRgba } from "./preview";
import { EngineProblem, untilAborted } from "./problems";
import { type Candidate, type Device, listCandidates, threadsFor } from "./providers";
import { Memory } from "./remembered";
import { checkRequest, planStyles, samplerNamed } from "./requests";
import { tableFor } from "./samplers";
import { isPersisted } from "./storage";
import { chooseStore } from "./stores";
import { StyleBook } from "./stylebook";
import type { TextEncoders } from "./text";
import { Vae } from "./vae";
import { type BundleParts, type OpenVariant, openVariant, type Passed, sameWay } from "./variants";
import { warmUp } from "./warmup";

/**
 * Bytes of weights up to which a switch between base and merged styles costs no loading. Above, only
 * the variant in use is held: WebAssembly ends at 4 GiB.
 */
const SMALL = 256 * 2 ** 20;

export interface DenoiseHooks extends DownloadHooks {
  onStep?: (step: StepReport) => void;
  /** A provider failed, and the picture begins again on another. */
  onNotice?: (notice: Notice) => void;
}

export class Engine {
  private readonly variants = new Map<string, OpenVariant>();
  private readonly samplers = new Map<string, SamplerTables>();
  private readonly book: StyleBook;
  private readonly failures = new Failures();
  /** There once words were read here. */
  private textEncoders: TextEncoders | undefined;
  /** There once a picture was decoded or encoded here. */
  private vae: Vae | undefined;
  /** How the base runs. */
  private passed: Passed | undefined;
  private turn: Promise<void> = Promise.resolve();
  /** Who waits for a turn and wants to hear of downloads. */
  private readonly waiting = new Set<NonNullable<DownloadHooks["onProgress"]>>();

  private constructor(
    private readonly parts: BundleParts,
    private readonly device: Device,
    private readonly wanted: LoadRequest["providers"],
    private readonly local: LocalStyles,
    private readonly offline: boolean,
  ) {
    this.book = new StyleBook(parts);
  }

  /**
   * Opens a bundle and its base model on the first provider that passes the golden vector.
   *
   * @param warming of the same request, if it was warmed up before
   * @throws EngineProblem `manifest`, `network`, `damaged`, `no-provider` or `cancelled`
   */
  static async open(
    request: LoadRequest,
    hooks: DownloadHooks = {},
    warming: Promise<Device> = warmUp(request),
  ): Promise<Engine> {
    const { manifestUrl, runtimeUrl, providers, opened } = request;
    const work = startWork(hooks);
    work.tally.report("manifest", "manifest.json");
    const { manifest, offline } = opened ?? (await openManifest(manifestUrl, hooks.signal));
    const files = new Files(manifestUrl, await chooseStore());
    await files.register(manifest);
    const { slots } = await loadJson(files, manifest.slots, "SlotTable", work);
    const parts = { manifest, slots, files, runtimeUrl };
    const local = await LocalStyles.open(parts);
    const engine = new Engine(parts, await warming, providers, local, offline);
    const prepared = local.prepare(work.signal);
    await engine.variant(baseVariant(manifest).name, work);
    await prepared;
    return engine;
  }

  get manifest(): Manifest {
    return this.parts.manifest;
  }

  /** Which provider runs the base model, and its distance from PyTorch. */
  get report(): ProviderReport {
    return (this.passed as Passed).report; // there since `open`
  }

  /** Where the bundle's files are kept. */
  async storage(): Promise<StorageReport> {
    const persisted = await isPersisted();
    return { ...this.parts.files.kept, persisted, offline: this.offline };
  }

  /**
   * Denoises one picture's latents. Requests are taken one after another.
   *
   * @throws EngineProblem `request`, `wrong-base`, `network`, `damaged`, `numbers`, `no-provider`, or
   *   `cancelled` within one UNet step of the abort
   */
  denoise(request: DenoiseRequest, hooks: DenoiseHooks = {}): Promise<DenoiseResult> {
    return this.inTurn(() => this.denoiseNow(request, hooks), hooks);
  }

  /**
   * Fetches and checks a style ahead of its first use. A merged one takes a turn; requests that wait
   * for it hear of its progress.
   *
   * @throws EngineProblem as `denoise`
   */
  async prefetchStyle(name: string, hooks: DownloadHooks = {}): Promise<void> {
    const style = styleNamed(this.manifest, name);
    if (style.kind === "external") {
      if (changes(style, "unet")) await this.book.pack(style, startWork(hooks));
      return;
    }
    const work = startWork(this.heard(hooks));
    await this.inTurn(() => this.variant(variantOf(style), work), hooks);
  }

  /**
   * Stores what pictures need besides the UNet, so that a visit without a network can paint though none
   * was painted before: tokenizer, text encoder, the VAE's decoder, a sampler. Takes no turn, and no
   * memory but one piece of a file.
   *
   * @throws EngineProblem `network`, `damaged` or `cancelled`
   */
  async keepParts(hooks: DownloadHooks = {}): Promise<void> {
    const { manifest, files } = this.parts;
    const work = startWork(hooks);
    for (const file of partFiles(manifest)) await files.keep(file, work);
  }

  /**
   * Words to embeddings, on this device. Takes a turn: between two pictures, never within one;
   * requests that wait for it hear of its progress.
   *
   * @throws EngineProblem as `TextEncoders.encode`
   */
  encodeText(request: TextRequest, hooks: DownloadHooks = {}): Promise<TextResult> {
    return this.inTurn(async () => {
      const work = startWork(this.heard(hooks));
      this.textEncoders ??= await this.loadTextEncoders();
      return this.textEncoders.encode(request, (style) => this.book.pack(style, work), work);
    }, hooks);
  }

  /**
   * Latents to a picture, on this device. Takes a turn: between two pictures, never within one.
   *
   * @throws EngineProblem as `Vae.decode`
   */
  decodeLatents(latents: WireTensor, hooks: DownloadHooks = {}): Promise<WirePicture> {
    return this.inTurn(() => this.openedVae().decode(latents, startWork(hooks)), hooks);
  }

  /**
   * A picture to what `DenoiseRequest.start` takes, on this device. Takes a turn.
   *
   * @throws EngineProblem as `Vae.encode`
   */
  encodeImage(picture: WirePicture, hooks: DownloadHooks = {}): Promise<WireTensor> {
    return this.inTurn(() => this.openedVae().encode(picture, startWork(hooks)), hooks);
  }

  /**
   * Makes a LoRA file a style of this bundle, kept for later visits where the browser keeps anything.
   *
   * @throws EngineProblem `lora` with the reason why it cannot be one; `network`, `cancelled`
   */
  addStyle(file: AddStyleRequest, hooks: DownloadHooks = {}): Promise<LocalStyle> {
    return this.local.add(file, startWork(hooks));
  }

  /** @throws EngineProblem `request` for a style that was not made here */
  async removeStyle(name: string): Promise<void> {
    await this.local.remove(name);
    this.book.forget(name); // another file may get the name
  }

  /** The styles that were made here from files; they are in `manifest` too. */
  get localStyles(): LocalStyle[] {
    return this.local.styles;
  }

  /**
   * How much each of the styles changes the model.
   *
   * @throws EngineProblem `request` for an unknown style; as `prefetchStyle`
   */
  contributions(
    choices: CallRequest<"contributions">,
    hooks: DownloadHooks = {},
  ): Promise<Contribution[]> {
    return this.book.contributions(choices, startWork(hooks));
  }

  /** Progress that those who wait for a turn hear of, too. */
  private heard({ onProgress, ...hooks }: DownloadHooks): DownloadHooks {
    const tellAll = (progress: LoadProgress) => {
      onProgress?.(progress);
      for (const tell of this.waiting) tell(progress);
    };
    return { ...hooks, onProgress: tellAll };
  }

  /** Does `work` after all that was asked before; an abort ends the wait at once. */
  private inTurn<T>(work: () => Promise<T>, { signal, onProgress }: DownloadHooks): Promise<T> {
    const before = this.turn;
    if (onProgress) this.waiting.add(onProgress);
    const result = untilAborted(before, signal)
      .finally(() => onProgress && this.waiting.delete(onProgress))
      .then(work);
    // The turn of one that no longer waits is still behind those before it.
    this.turn = Promise.allSettled([before, result]).then(() => {});
    return result;
  }

  /** Its code, and the tokenizer's, is fetched by those who use it. */
  private async loadTextEncoders(): Promise<TextEncoders> {
    const { TextEncoders } = await import("./text");
    const { provider, threads } = this.report;
    // Beside a large UNet on WebAssembly it takes the other build, which has 4 GiB of its own.
    const besides = this.isSmall ? threads : 1;
    const all = provider === "wasm" ? besides : threadsFor(this.device);
    return new TextEncoders(this.parts, all, this.isSmall);
  }

  private openedVae(): Vae {
    const { provider, threads } = this.report;
    const all = provider === "wasm" ? threads : threadsFor(this.device);
    this.vae ??= new Vae(this.parts, all, this.isSmall);
    return this.vae;
  }

  private async denoiseNow(request: DenoiseRequest, hooks: DenoiseHooks): Promise<DenoiseResult> {
    const { model } = this.manifest;
    const work = startWork(hooks);
    checkRequest(this.manifest, request);
    const plan = planStyles(this.manifest, request.styles);
    const sampler = samplerNamed(this.manifest, request.sampler);
    const table = tableFor(await this.tables(sampler, work), request.steps);
    const name = plan.merged ? variantOf(plan.merged) : baseVariant(this.manifest).name;
    const { height, width, preview, guidanceRange, cacheInterval, start } = request;
    const told = guidanceCondition(model, request.guidanceScale);
    return onSomeProvider(this.providers(name, work), hooks.onNotice, async (opened) => {
      const lora = await this.book.inputs(opened, plan, work);
      const began = performance.now();
      const noise = new NoiseGenerator(request.seed);
      const over = start && {
        latents: drawLatents(asTensor(start.latents), model.latent_channels, noise).data,
        first: firstCall(request.steps, start.strength),
      };
      const latents = await denoise(
        {
          table,
          noise,
          shape: [model.latent_channels, height, width],
          guidanceScale: told ? 1 : request.guidanceScale,
          ...(guidanceRange && { guidanceRange }),
          ...(cacheInterval && { cacheInterval }),
          ...(over && { over }),
          promptEmbeds: asTensor(request.promptEmbeds),
          negativePromptEmbeds: asTensor(request.negativePromptEmbeds),
        },
        (embeds) => opened.unet.prepare(embeds, lora, told),
        {
          signal: hooks.signal,
          async onStep({ next, ...report }) {
            if (!preview) hooks.onStep?.(report);
            else {
              const rgba = latentsToRgba(await next(), model.latent_rgb, height, width);
              hooks.onStep?.({ ...report, preview: { rgba, width, height } });
            }
          },
        },
      );
      return { latents, milliseconds: performance.now() - began, provider: opened.report };
    });
  }

  /** What `onSomeProvider` works with. */
  private providers(name: string, work: Work): Providers {
    return {
      failures: this.failures,
      open: () => this.variant(name, work),
      release: (which) => this.releaseVariants(which),
    };
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
    const left = this.failures.divide(candidates);
    const base = variant.golden ? undefined : await this.vouching(work);
    const memory = await Memory.of(this.device.identity, variant, this.wanted);
    const measured = (one: Candidate) => {
      if (!base) return memory.measured(one);
      const { error, tolerance } = base.report;
      return sameWay(one, base.candidate) ? { error, tolerance } : undefined;
    };
    const running = [...this.variants.values()][0]?.candidate;
    const order = memory.arrange(left.allowed);
    if (running) order.sort(preferring(running));
    if (!this.isSmall) await this.releaseVariants();
    const out = base?.report.refused ?? [...refused, ...left.refused];
    const opened = await this.parts.files.reading(() =>
      openVariant(this.parts, variant, order, out, work, measured),
    );
    this.variants.set(name, opened);
    if (variant === baseVariant(this.manifest)) this.passed = opened;
    // What runs because another one failed at work is no first choice for the next visit.
    if (!left.refused.length) await memory.learn(opened);
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

  /** The base's candidate and report, on a provider that has not failed since. */
  private async vouching(work: Work): Promise<Passed | undefined> {
    if (this.passed && !this.failures.allows(this.passed.candidate)) {
      await this.variant(baseVariant(this.manifest).name, work);
    }
    return this.passed;
  }

  private async releaseVariants(which: (opened: OpenVariant) => boolean = () => true) {
    for (const [name, opened] of this.variants) {
      if (!which(opened)) continue;
      this.variants.delete(name);
      await opened.unet.release().catch(() => {}); // one that has fallen over may fail to end, too
    }
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
