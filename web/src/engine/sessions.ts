/** The two sessions of a UNet graph, with shapes left free or, for WebNN, one pair for each shape. */

import type { InferenceSession } from "onnxruntime-web";
import { type Ort, onGpu, type ProviderName } from "./runtimes";
import { externalData, type Shard } from "./shards";

/** The parts of a UNet graph (manifest, `UNetGraph`), ONNX bytes without weights. */
export interface GraphBytes {
  prepare: Uint8Array;
  step: Uint8Array;
  shortcut: Uint8Array;
}

/** Sizes of a run, by the names that the graphs give their free dimensions. */
export type Dimensions = Readonly<Record<string, number>>;

export interface Sessions {
  preparing(dimensions: Dimensions): Promise<InferenceSession>;
  /** With `height` and `width` among the dimensions. */
  stepping(dimensions: Dimensions): Promise<InferenceSession>;
  /** As `stepping`, with deep features as an input. */
  shortcut(dimensions: Dimensions): Promise<InferenceSession>;
  release(): Promise<void>;
}

/** @throws whatever onnxruntime-web throws when the provider cannot take the graph */
export async function openSessions(
  ort: Ort,
  provider: ProviderName,
  graph: GraphBytes,
  shards: readonly Shard[],
): Promise<Sessions> {
  const open = (bytes: Uint8Array, freeDimensionOverrides?: Dimensions) =>
    ort.InferenceSession.create(bytes, {
      executionProviders: [names[provider]],
      graphOptimizationLevel: "all",
      logSeverityLevel: 3, // errors: it warns of every shape computation that stays on the CPU
      externalData: externalData(shards),
      preferredOutputLocation: onGpu(provider) ? "gpu-buffer" : "cpu",
      ...(freeDimensionOverrides && { freeDimensionOverrides }),
    });
  if (provider === "webnn") return new FixedSessions(graph, open);
  const opened: InferenceSession[] = [];
  try {
    for (const bytes of [graph.prepare, graph.step, graph.shortcut]) {
      opened.push(await open(bytes));
    }
    return new FreeSessions(opened as [InferenceSession, InferenceSession, InferenceSession]);
  } catch (thrown) {
    for (const session of opened) await session.release();
    throw thrown;
  }
}

const names = { webgpu: "webgpu", jsep: "webgpu", webnn: "webnn", wasm: "wasm" } as const;

class FreeSessions implements Sessions {
  readonly preparing: () => Promise<InferenceSession>;
  readonly stepping: () => Promise<InferenceSession>;
  readonly shortcut: () => Promise<InferenceSession>;

  constructor(
    private readonly opened: readonly [InferenceSession, InferenceSession, InferenceSession],
  ) {
    const [prepare, step, shortcut] = opened;
    this.preparing = async () => prepare;
    this.stepping = async () => step;
    this.shortcut = async () => shortcut;
  }

  async release(): Promise<void> {
    for (const session of this.opened) await session.release();
  }
}

/**
 * WebNN compiles a graph for one shape; what has free dimensions onnxruntime would leave to the CPU
 * without a word. So sessions are created when sizes are known, and kept: sizes change seldom.
 */
class FixedSessions implements Sessions {
  private readonly opened = new Map<string, Promise<InferenceSession>>();

  constructor(
    private readonly graph: GraphBytes,
    private readonly open: (bytes: Uint8Array, sizes: Dimensions) => Promise<InferenceSession>,
  ) {}

  preparing = (dimensions: Dimensions) => this.session("prepare", this.graph.prepare, dimensions);
  stepping = (dimensions: Dimensions) => this.session("step", this.graph.step, dimensions);
  shortcut = (dimensions: Dimensions) => this.session("shortcut", this.graph.shortcut, dimensions);

  async release(): Promise<void> {
    const opened = [...this.opened.values()];
    this.opened.clear();
    for (const session of opened) await (await session).release();
  }

  private async session(
    part: keyof GraphBytes,
    bytes: Uint8Array,
    dimensions: Dimensions,
  ): Promise<InferenceSession> {
    const key = JSON.stringify([part, dimensions]);
    const opening = this.opened.get(key) ?? this.open(bytes, dimensions);
    this.opened.set(key, opening);
    try {
      const session = await opening;
      refuseFree(session);
      return session;
    } catch (thrown) {
      this.opened.delete(key);
      throw thrown;
    }
  }
}

/** @throws Error when a size is still open */
function refuseFree({ inputMetadata }: InferenceSession): void {
  for (const input of inputMetadata) {
    const free = input.isTensor && input.shape.find((size) => typeof size === "string");
    if (free) throw new Error(`the size ${free} of ${input.name} is free, which WebNN cannot have`);
  }
}
