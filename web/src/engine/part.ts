/** Graphs beside the UNet, on WebAssembly: they run once per picture, whatever runs the UNet. */

import type { InferenceSession } from "onnxruntime-web";
import type { FileRef, Graph, Manifest } from "../bundle/manifest.gen";
import type { Work } from "./downloads";
import type { Ort } from "./runtimes";
import type { Tensor } from "./safetensors";
import { shardsOf } from "./shards";
import type { BundleParts } from "./variants";
import { openOnWasm } from "./wasmsession";

/** An open graph with one input and one output, float32 both. */
export class Part {
  private constructor(
    private readonly ort: Ort,
    private readonly session: InferenceSession,
  ) {}

  /**
   * @param name for messages
   * @param threads CPU threads; one where more do not start
   * @throws EngineProblem `network`, `damaged`, `cancelled`, or `no-provider` when it cannot be run
   */
  static async open(
    parts: BundleParts,
    name: string,
    graph: Graph,
    threads: number,
    work: Work,
  ): Promise<Part> {
    const { ort, session } = await openOnWasm(parts, name, graph, threads, work);
    return new Part(ort, session);
  }

  /** @throws whatever onnxruntime-web throws */
  async run({ data, shape }: Tensor): Promise<Tensor> {
    const [input = "", output = ""] = [this.session.inputNames[0], this.session.outputNames[0]];
    const fed = new this.ort.Tensor("float32", data, shape);
    const found = (await this.session.run({ [input]: fed }))[output];
    if (!found) throw new Error(`the graph gave no ${output}`);
    const values = (await found.getData()) as Float32Array<ArrayBuffer>;
    return { data: values, shape: [...found.dims] };
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

/** What pictures need besides the UNet: tokenizer, text encoder, the VAE's decoder, the sampler to start with. */
export function partFiles(manifest: Manifest): FileRef[] {
  const { tokenizer, text_encoder, vae_decoder, samplers, hints } = manifest;
  const sampler = hints.sampler ?? samplers[0]?.name;
  return [
    tokenizer.tokenizer_json,
    tokenizer.tokenizer_config,
    text_encoder.slots,
    ...[text_encoder.graph, vae_decoder.graph].flatMap((graph) => [
      graph.file,
      ...shardsOf(manifest, graph),
    ]),
    ...samplers.filter(({ name }) => name === sampler).map(({ file }) => file),
  ];
}
