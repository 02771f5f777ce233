/** One UNet graph on one execution provider. */

import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";
import type { Ort, ProviderName } from "./runtimes";
import type { Tensor } from "./safetensors";

/** A shard as onnxruntime looks it up: by the file name that the graph gives. */
export interface Shard {
  name: string;
  bytes: Uint8Array;
}

/** LoRA inputs made ready for one session; they keep from step to step and picture to picture. */
export type LoraFeeds = Readonly<Record<string, OrtTensor>>;

export class UNet {
  private constructor(
    private readonly ort: Ort,
    private readonly session: InferenceSession,
  ) {}

  /**
   * @param graph ONNX bytes without weights; its initializers lie in `shards`
   * @throws whatever onnxruntime-web throws when the provider cannot take the graph
   */
  static async create(
    ort: Ort,
    provider: ProviderName,
    graph: Uint8Array,
    shards: readonly Shard[],
  ): Promise<UNet> {
    const session = await ort.InferenceSession.create(graph, {
      executionProviders: [provider === "wasm" ? "wasm" : "webgpu"],
      graphOptimizationLevel: "all",
      logSeverityLevel: 3, // errors: it warns of every shape computation that stays on the CPU
      externalData: shards.map(({ name, bytes }) => ({ path: name, data: bytes })),
    });
    return new UNet(ort, session);
  }

  /** @param inputs graph input name -> `A [in, R]` or `B [R, out]`, for every slot (see `stack`) */
  prepareLora(inputs: ReadonlyMap<string, Tensor>): LoraFeeds {
    return Object.fromEntries([...inputs].map(([name, tensor]) => [name, this.feed(tensor)]));
  }

  /**
   * One evaluation of the denoiser.
   *
   * @param sample `[batch, channels, height, width]`
   * @param timestep of the training schedule, 0..num_train_timesteps
   * @param embeds `[batch, tokens, width]`
   * @returns `out_sample`, shaped like `sample`
   */
  async run(
    sample: Tensor,
    timestep: number,
    embeds: Tensor,
    lora: LoraFeeds,
  ): Promise<Float32Array> {
    const outputs = await this.session.run({
      sample: this.feed(sample),
      timestep: new this.ort.Tensor("float32", Float32Array.of(timestep), [1]),
      encoder_hidden_states: this.feed(embeds),
      ...lora,
    });
    const output = outputs.out_sample;
    if (!output) throw new Error("the graph gave no out_sample");
    return (await output.getData()) as Float32Array;
  }

  async release(): Promise<void> {
    await this.session.release();
  }

  private feed({ data, shape }: Tensor): OrtTensor {
    return new this.ort.Tensor("float32", data, shape);
  }
}
