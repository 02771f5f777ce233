/**
 * A stand-in for onnxruntime-web whose "graphs" are JSON: it computes
 * out = sample * weight * factor + sum of all LoRA values, so that a test sees which shard, which graph
 * and which styles a result came from. That sum is what inner layers make: the deep features.
 */

/** What a graph's bytes say; also what makes it fail. */
export interface FakeGraph {
  shard: string;
  inputs: string[];
  factor?: number;
  /** The message that creating a session throws. */
  refuses?: string;
}

type Feeds = Record<string, { data: Float32Array; dims: number[] }>;

/** Sessions that were created and not released. */
export const openSessions = new Set<FakeSession>();
/** Prepared tensors and deep features that were not disposed of. */
export let heldTensors = 0;
/** What was fed to prepare graphs since the last reset. */
export const preparations: Feeds[] = [];

/** What the next run of a step graph throws, once. */
export const trouble: { next?: Error } = {};

class FakeSession {
  constructor(
    private readonly graph: FakeGraph,
    private readonly weight: number,
  ) {
    openSessions.add(this);
  }

  static async create(
    graph: Uint8Array,
    { externalData }: { externalData: { path: string; data: Uint8Array }[] },
  ): Promise<FakeSession> {
    const parsed = JSON.parse(new TextDecoder().decode(graph)) as FakeGraph;
    if (parsed.refuses) throw new Error(parsed.refuses);
    const shard = externalData.find(({ path }) => path === parsed.shard);
    if (!shard) throw new Error(`no external data ${parsed.shard}`);
    return new FakeSession(parsed, shard.data[0] as number);
  }

  get inputNames(): string[] {
    return this.graph.inputs;
  }

  async run(feeds: Feeds, wanted: string[] = []) {
    const unknown = Object.keys(feeds).filter((name) => !this.graph.inputs.includes(name));
    if (unknown.length) throw new Error(`invalid input ${unknown}`);
    const { sample, "prepared.0": prepared, encoder_hidden_states: _, ...lora } = feeds;
    const held = (data: Float32Array) => {
      heldTensors++;
      return { data, dims: [1], dispose: () => heldTensors-- };
    };
    if (!sample) {
      const styles = Object.values(lora).flatMap(({ data }) => [...data]);
      const added = styles.reduce((sum, value) => sum + value, 0);
      preparations.push(feeds);
      return { "prepared.0": held(Float32Array.of(added)) };
    }
    const { next } = trouble;
    delete trouble.next;
    if (next) throw next;
    const deep = (feeds.deep_features ?? prepared)?.data as Float32Array;
    const scale = this.weight * (this.graph.factor ?? 1);
    const output = sample.data.map((value) => value * scale + (deep[0] as number));
    return {
      out_sample: { getData: async () => output },
      ...(wanted.includes("deep_features") && { deep_features: held(deep) }),
    };
  }

  async release(): Promise<void> {
    openSessions.delete(this);
  }
}

export const fakeOrt = {
  env: { wasm: {}, webgpu: {} },
  InferenceSession: FakeSession,
  Tensor: class {
    constructor(
      readonly type: string,
      readonly data: Float32Array,
      readonly dims: number[],
    ) {}
  },
};
