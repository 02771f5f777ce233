/** One UNet graph on one execution provider. */

import type { Tensor as OrtTensor } from "onnxruntime-web";
import type { Arithmetic, Values } from "./arithmetic";
import type { DeepUse } from "./deepcache";
import { type Feeding, feedingOf, letGo } from "./feeding";
import type { Ort, ProviderName } from "./runtimes";
import type { Tensor } from "./safetensors";
import { type Dimensions, type GraphBytes, openSessions, type Sessions } from "./sessions";
import type { Shard } from "./shards";

export type { GraphBytes };

type Feeds = Record<string, OrtTensor>;

/** A UNet with the prompt and the styles of one picture in place. */
export interface Prepared {
  /** Where its samples come from and its outputs go to. */
  math: Arithmetic;
  /**
   * One evaluation of the denoiser.
   *
   * @param shape `[batch, channels, height, width]`, as many as there are text embeddings
   * @param timestep of the training schedule, 0..num_train_timesteps
   * @param deep what it does with deep features; `unused` without it
   * @returns `out_sample`, shaped like `sample`
   */
  step(sample: Values, shape: readonly number[], timestep: number, deep?: DeepUse): Promise<Values>;
  /** The same for the last of its text embeddings alone; has to be disposed of before this one. */
  promptAlone(): Promise<Prepared>;
  /** Frees what is held on the GPU. */
  dispose(): void;
}

/** What a picture's steps are prepared from. */
interface Picture {
  embeds: Tensor;
  lora: ReadonlyMap<string, Tensor>;
  timestepCond: Tensor | undefined;
}

export class UNet {
  private constructor(
    private readonly ort: Ort,
    private readonly provider: ProviderName,
    private readonly feeding: Feeding,
    private readonly sessions: Sessions,
  ) {}

  /**
   * @param shards where the graph's initializers lie
   * @throws whatever onnxruntime-web throws when the provider cannot take the graph
   */
  static async create(
    ort: Ort,
    provider: ProviderName,
    graph: GraphBytes,
    shards: readonly Shard[],
  ): Promise<UNet> {
    const sessions = await openSessions(ort, provider, graph, shards);
    return new UNet(ort, provider, await feedingOf(ort, provider), sessions);
  }

  /**
   * Folds the styles into the weights and computes the prompt's keys and values.
   *
   * @param embeds `[batch, tokens, width]`
   * @param lora graph input name -> `A [in, R]` or `B [R, out]`, for every slot (see `stack`)
   * @param timestepCond `[batch, F]`, where the UNet is told the guidance
   * @throws ProviderFailure
   */
  async prepare(
    embeds: Tensor,
    lora: ReadonlyMap<string, Tensor>,
    timestepCond?: Tensor,
  ): Promise<Prepared> {
    const { feeding } = this;
    const [batch, tokens] = embeds.shape as [number, number];
    // Kept by batch, since a run with guidance on some steps only is prepared for both.
    const own: Feeds = {
      encoder_hidden_states: feeding.keep(`encoder_hidden_states x${batch}`, embeds),
    };
    if (timestepCond) own.timestep_cond = feeding.keep(`timestep_cond x${batch}`, timestepCond);
    for (const [name, tensor] of lora) own[name] = feeding.keep(name, tensor);
    const sizes = { batch, tokens, rank: rankOf(lora) };
    const computed = await feeding.run(async () => {
      const session = await this.sessions.preparing(sizes);
      return session.run(picked(own, session.inputNames));
    });
    return this.prepared({ embeds, lora, timestepCond }, { ...own, ...computed }, computed);
  }

  /** @param computed what is let go with it */
  private prepared(picture: Picture, feeds: Feeds, computed: Feeds): Prepared {
    const { math } = this.feeding;
    const [batch, tokens] = picture.embeds.shape as [number, number];
    const sizes = { batch, tokens, rank: rankOf(picture.lora) };
    const kept: Feeds = {};
    return {
      math,
      step: (sample, shape, timestep, deep = "unused") =>
        this.step({ sample, shape, timestep, deep }, feeds, sizes, kept),
      promptAlone: () => this.alone(picture, feeds, sizes),
      dispose: () => {
        for (const tensor of Object.values({ ...computed, ...kept })) letGo(tensor);
      },
    };
  }

  private async alone(picture: Picture, feeds: Feeds, sizes: Dimensions): Promise<Prepared> {
    const { lora, timestepCond } = picture;
    const embeds = lastRow(picture.embeds);
    const cond = timestepCond && lastRow(timestepCond);
    // A part of a GPU buffer cannot be fed, and WebNN's sessions are of one shape.
    if (this.provider !== "wasm") return this.prepare(embeds, lora, cond);
    // Of weights there is one for all prompts; keys and values have a row for each.
    const { inputMetadata } = await this.sessions.stepping(sizes);
    const rows: Feeds = {};
    for (const input of inputMetadata) {
      const tensor = feeds[input.name];
      if (!tensor || !input.isTensor || input.shape[0] !== "batch") continue;
      const { data, shape } = lastRow({ data: tensor.data as Tensor["data"], shape: tensor.dims });
      rows[input.name] = new this.ort.Tensor(tensor.type as "float32", data, shape);
    }
    return this.prepared({ embeds, lora, timestepCond: cond }, { ...feeds, ...rows }, {});
  }

  async release(): Promise<void> {
    this.feeding.dispose();
    await this.sessions.release();
  }

  /** @param kept the deep features of the last call that kept them */
  private async step(
    { sample, shape, timestep, deep }: Step,
    prepared: Feeds,
    sizes: Dimensions,
    kept: Feeds,
  ): Promise<Values> {
    const { feeding, sessions } = this;
    const [, , height, width] = shape as [number, number, number, number];
    const feeds = {
      ...prepared,
      ...kept,
      sample: feeding.feed(sample, shape),
      timestep: feeding.scalar(timestep),
    };
    const { out_sample: output, [DEEP]: features } = await feeding.run(async () => {
      const all = { ...sizes, height, width };
      const session = await (deep === "reused" ? sessions.shortcut(all) : sessions.stepping(all));
      const wanted = deep === "kept" ? ["out_sample", DEEP] : ["out_sample"];
      return session.run(picked(feeds, session.inputNames), wanted);
    });
    if (!output) throw new Error("the graph gave no out_sample");
    if (features) {
      if (kept[DEEP]) letGo(kept[DEEP]);
      kept[DEEP] = features;
    }
    return feeding.take(output);
  }
}

/** An output of the step graph, and an input of its shortcut. */
const DEEP = "deep_features";

interface Step {
  sample: Values;
  shape: readonly number[];
  timestep: number;
  deep: DeepUse;
}

function rankOf(lora: ReadonlyMap<string, Tensor>): number {
  const [first] = lora.values();
  return first?.shape[1] ?? 1; // `A [in, R]` comes first
}

/** The last of a batch, as a batch of one. */
function lastRow({ data, shape }: { data: Tensor["data"]; shape: readonly number[] }): Tensor {
  const [rows = 1, ...rest] = shape;
  return { data: data.subarray((data.length / rows) * (rows - 1)), shape: [1, ...rest] };
}

/** What a session takes of these; it refuses what it has no input for. */
function picked(feeds: Feeds, names: readonly string[]): Feeds {
  const wanted = new Set(names);
  return Object.fromEntries(Object.entries(feeds).filter(([name]) => wanted.has(name)));
}
