/**
 * A stand-in for onnxruntime-web whose "graphs" are JSON: it computes
 * out = sample * weight * factor + sum of all LoRA values, so that a test sees which shard, which graph
 * and which styles a result came from.
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
/** Prepared tensors that were not disposed of. */
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

  async run(feeds: Feeds) {
    const unknown = Object.keys(feeds).filter((name) => !this.graph.inputs.includes(name));
    if (unknown.length) throw new Error(`invalid input ${unknown}`);
    const { sample, "prepared.0": prepared, encoder_hidden_states: _, ...lora } = feeds;
    if (!sample) {
      const styles = Object.values(lora).flatMap(({ data }) => [...data]);
      const added = styles.reduce((sum, value) => sum + value, 0);
      const data = Float32Array.of(added);
      preparations.push(feeds);
      heldTensors++;
      return { "prepared.0": { data, dims: [1], dispose: () => heldTensors-- } };
    }
    const { next } = trouble;
    delete trouble.next;
    if (next) throw next;
    const added = (prepared as Feeds[string]).data[0] as number;
    const scale = this.weight * (this.graph.factor ?? 1);
    const output = sample.data.map((value) => value * scale + added);
    return { out_sample: { getData: async () => output } };
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
