/**
 * A stand-in for onnxruntime-web whose "graphs" are JSON: it computes
 * out = sample * weight * factor + sum of all LoRA values, so that a test sees which shard, which graph
 * and which styles a result came from.
 */

/** What a graph's bytes say; also what makes it fail. */
export interface FakeGraph {
  shard: string;
  factor?: number;
  /** The message that creating a session throws. */
  refuses?: string;
}

type Feeds = Record<string, { data: Float32Array; dims: number[] }>;

/** Sessions that were created and not released. */
export const openSessions = new Set<FakeSession>();
/** Feeds of all runs since the last reset. */
export const runs: Feeds[] = [];

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

  async run(feeds: Feeds) {
    runs.push(feeds);
    const { sample, timestep: _, encoder_hidden_states: __, ...lora } = feeds;
    const styles = Object.values(lora).flatMap(({ data }) => [...data]);
    const added = styles.reduce((sum, value) => sum + value, 0);
    const scale = this.weight * (this.graph.factor ?? 1);
    const output = (sample as Feeds[string]).data.map((value) => value * scale + added);
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
