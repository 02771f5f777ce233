/** An opened bundle that paints: pictures, styles of one's own, and what can be said of it. */

import type { Manifest, Style } from "../bundle/manifest.gen";
import { changes } from "../engine/manifest";
import { asProblem, cancelled, EngineProblem, untilAborted } from "../engine/problems";
import type { WorkerClient } from "../worker/client";
import type {
  LoadProgress,
  LocalStyle,
  ProviderReport,
  StepReport,
  StorageReport,
} from "../worker/protocol";
import type { Codec } from "./codec";
import { resultOf } from "./here";
import type { ModeChoice } from "./mode";
import { type Memory, type PaintHooks, type Phase, paint, paintRemotely, read } from "./painting";
import type { Picture } from "./picture";
import type { Server } from "./server";
import { type PictureSpec, type PictureWish, specFor } from "./spec";

/** A step of one picture of a batch. */
export interface PictureStep extends StepReport {
  /** 0-based, of `count`. */
  picture: number;
  count: number;
}

export interface GenerateRequest extends PictureWish {
  /** After each step, with a small preview picture. */
  onStep?: (step: PictureStep) => void;
  /** What is being done: words read, files fetched, steps drawn, the picture developed. */
  onPhase?: (phase: Phase) => void;
  /** Each picture of a batch as soon as it is there. */
  onPicture?: (picture: Picture, index: number) => void;
  /** Whether steps bring a preview; as without it where `onStep` or `onPhase` is there. */
  preview?: boolean;
  /** Newest wins: ends every earlier request that is of this kind, too, as `cancelled`. */
  latest?: boolean;
  /** Aborting ends the request within one step, as `cancelled`. */
  signal?: AbortSignal;
}

/** What runs where, and why. */
export interface EngineReport extends ModeChoice {
  /** Of the base model, and its base's hash, by which styles know it. */
  model: string;
  baseHash: string;
  exporter: string;
  /** What computes on this device, and how far it is from PyTorch; none in mode `remote`. */
  provider?: ProviderReport;
  /** Where the bundle's files are kept. */
  storage?: StorageReport;
  /** Mode `remote` because nothing on this device passed: what was tried. */
  refused?: string;
  /** Cross-origin isolated, which WebAssembly threads need. */
  isolated: boolean;
}

/** What `open` found and loaded. */
export interface Opened {
  choice: ModeChoice;
  manifest: Manifest;
  server?: Server | undefined;
  worker: WorkerClient;
  /** With `report` and `storage`, unless the server draws. */
  codec?: Codec;
  report?: ProviderReport;
  storage?: StorageReport;
  refused?: EngineProblem;
}

export class PaintEngine {
  readonly #opened: Opened;
  readonly #ended = new AbortController();
  readonly #memory: Memory = { embeddings: new Map() };
  #manifest: Manifest;
  #turn: Promise<unknown> = Promise.resolve();
  #latest: AbortController | undefined;

  /** @internal `open` makes engines. */
  constructor(opened: Opened) {
    this.#opened = opened;
    this.#manifest = opened.manifest;
  }

  /** Where every call of `Calls` can be made; in mode `remote` each ends with a problem. */
  get worker(): WorkerClient {
    return this.#opened.worker;
  }

  /** The bundle's manifest, with the styles that were added. */
  get manifest(): Manifest {
    return this.#manifest;
  }

  get styles(): readonly Style[] {
    return this.#manifest.styles ?? [];
  }

  report(): EngineReport {
    const { choice, report, storage, refused } = this.#opened;
    const { name, base_hash, exporter } = this.#manifest;
    return {
      ...choice,
      model: name,
      baseHash: base_hash,
      exporter,
      ...(report && { provider: report }),
      ...(storage && { storage }),
      ...(refused && { refused: refused.message }),
      isolated: globalThis.crossOriginIsolated === true,
    };
  }

  /**
   * Paints. Requests are taken one after another.
   *
   * @throws EngineProblem `request`, `wrong-base`, `network`, `damaged`, `numbers`, `no-provider`,
   *   those of the server, or `cancelled`
   */
  async generate(request: GenerateRequest): Promise<Picture[]> {
    const mine = new AbortController();
    if (request.latest) {
      this.#latest?.abort();
      this.#latest = mine;
    }
    const ends = [this.#ended.signal, mine.signal, ...(request.signal ? [request.signal] : [])];
    const signal = AbortSignal.any(ends);
    try {
      const spec = specFor(this.#manifest, request);
      return await this.#inTurn(() => this.#paintAll(spec, request, signal), signal);
    } catch (thrown) {
      throw signal.aborted ? cancelled() : asProblem(thrown);
    }
  }

  /**
   * Reads a request's words ahead, so that its picture begins sooner. On this device alone: no server
   * is asked for what may not be wanted. It takes no turn: a picture that is wanted meanwhile hears
   * of what it still downloads.
   *
   * @throws EngineProblem as `generate`
   */
  async readAhead(request: PictureWish): Promise<void> {
    const { choice, codec } = this.#opened;
    if (choice.mode !== "here" || !codec) return;
    const { signal } = this.#ended;
    const manifest = this.#manifest;
    const tools = { manifest, codec, memory: this.#memory };
    try {
      const spec = specFor(manifest, request);
      await read(spec, tools, { onPhase: () => {}, signal });
    } catch (thrown) {
      throw signal.aborted ? cancelled() : asProblem(thrown);
    }
  }

  /** Fetches a style ahead of its first use. @throws EngineProblem as `generate` */
  async prefetchStyle(name: string, hooks: Hooks = {}): Promise<void> {
    if (this.#opened.codec) resultOf(await this.worker.prefetchStyle(name, hooks));
  }

  /**
   * Makes a LoRA file a style of the bundle, kept for later visits; nothing is uploaded.
   *
   * @param beside what came with it: an A1111 sidecar, a picture, PEFT's config (`AddStyleRequest`)
   * @throws EngineProblem `lora` with what in the file cannot be used, `request` in mode `remote`
   */
  async addStyle(
    file: Blob & { name?: string },
    beside: readonly File[] = [],
    hooks: Hooks = {},
  ): Promise<LocalStyle> {
    const brought = {
      name: file.name ?? "style.safetensors",
      bytes: file,
      beside: beside.map((other) => ({ name: other.name, bytes: other })),
    };
    const style = resultOf(await this.worker.call("add-style", brought, hooks));
    this.#manifest = withStyles(this.#manifest, [style]);
    const stranger = this.#opened.choice.mode === "server" && style.kept !== "bundle";
    if (!stranger || !changes(style, "text_encoder")) return style;
    const message = `The server has no ${style.title}: words are read on this device where it is on.`;
    return { ...style, notes: [...style.notes, { code: "read-here", message }] };
  }

  /** Forgets a style that was added. @throws EngineProblem `request` for one of the bundle's own */
  async removeStyle(name: string): Promise<void> {
    resultOf(await this.worker.call("remove-style", name));
    const styles = this.styles.filter((style) => style.name !== name);
    this.#manifest = { ...this.#manifest, styles };
  }

  /** Ends the worker and frees its memory; what is under way or waits ends as `cancelled`. */
  close(): void {
    this.#ended.abort();
    this.worker.terminate();
  }

  /** Does `work` after all that was asked before; an abort ends the wait at once. */
  #inTurn<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const before = this.#turn;
    const result = untilAborted(before, signal).then(work);
    // The turn of one that no longer waits is still behind those before it.
    this.#turn = Promise.allSettled([before, result]);
    return result;
  }

  async #paintAll(
    spec: PictureSpec,
    request: GenerateRequest,
    signal: AbortSignal,
  ): Promise<Picture[]> {
    const { count = 1, onStep, onPhase, onPicture, preview = !!(onStep || onPhase) } = request;
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new EngineProblem("request", "The count must be a whole number from 1.", "count");
    }
    const pictures: Picture[] = [];
    for (let index = 0; index < count; index += 1) {
      const tell = (phase: Phase) => {
        onPhase?.(phase);
        if (phase.name !== "drawing") return;
        const { name: _, ...step } = phase;
        onStep?.({ ...step, picture: index, count });
      };
      const hooks = { onPhase: tell, preview, signal };
      const picture = await this.#paint({ ...spec, seed: spec.seed + index }, hooks);
      pictures.push(picture);
      onPicture?.(picture, index);
    }
    return pictures;
  }

  #paint(spec: PictureSpec, hooks: PaintHooks): Promise<Picture> {
    const { worker, codec, server } = this.#opened;
    const manifest = this.#manifest;
    if (codec) return paint(spec, { manifest, worker, codec, memory: this.#memory }, hooks);
    if (server) return paintRemotely(spec, { manifest, server }, hooks);
    throw new EngineProblem("internal", "This engine has neither a codec nor a server.");
  }
}

/** A manifest with styles that were made on this device; those of the same name give way. */
export function withStyles(manifest: Manifest, own: readonly LocalStyle[]): Manifest {
  const names = new Set(own.map(({ name }) => name));
  const others = (manifest.styles ?? []).filter(({ name }) => !names.has(name));
  const styles = own.map(({ kept: _kept, notes: _notes, ...style }) => style);
  return { ...manifest, styles: [...others, ...styles] };
}

interface Hooks {
  onProgress?: (progress: LoadProgress) => void;
  signal?: AbortSignal;
}
