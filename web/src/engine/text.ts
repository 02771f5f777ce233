/**
 * Words to embeddings on this device: the bundle's tokenizer, and the text encoders of the base and of
 * merged styles. They run on WebAssembly, once per prompt, whatever runs the UNet.
 */

import type { Graph, Slot, Style, UNetVariant } from "../bundle/manifest.gen";
import type { TextRequest, TextResult, WireTensor } from "../worker/protocol";
import type { Work } from "./downloads";
import { loadJson, loadObject } from "./manifest";
import { checkTextPart, type Pack, stack } from "./packs";
import { EngineProblem, stopIfAborted } from "./problems";
import { weigh } from "./prompts";
import { planStyles, type StylePlan } from "./requests";
import type { Ort } from "./runtimes";
import type { Tensor } from "./safetensors";
import { shardsOf } from "./shards";
import { PromptTokenizer, type Row } from "./tokens";
import type { BundleParts } from "./variants";
import { openOnWasm, type WasmSession } from "./wasmsession";

const LAST = "last_hidden_state";

export class TextEncoders {
  private readonly opened = new Map<string, WasmSession>();
  private tokenizer: PromptTokenizer | undefined;
  private slots: readonly Slot[] | undefined;

  /**
   * @param threads CPU threads; one where more do not start
   * @param severalFit whether text encoders of merged styles may stay open beside the base's
   */
  constructor(
    private readonly parts: BundleParts,
    private readonly threads: number,
    private readonly severalFit: boolean,
  ) {}

  /**
   * Encodes both prompts, in A1111's syntax; the shorter one is filled up with empty chunks.
   *
   * @param packOf fetches a style's pack
   * @throws EngineProblem `request`, `wrong-base`, `network`, `damaged`, `numbers`, `no-provider` or
   *   `cancelled`
   */
  async encode(
    { prompt, negativePrompt, clipSkip = 0, styles }: TextRequest,
    packOf: (style: Style) => Promise<Pack>,
    work: Work,
  ): Promise<TextResult> {
    const { manifest } = this.parts;
    const output = this.outputFor(clipSkip);
    const choices = styles.map(({ name, te }) => ({ name, strength: te }));
    const plan = planStyles(manifest, choices, "text_encoder");
    const tokenizer = await this.loadTokenizer(work);
    const prompts = [tokenizer.rows(prompt), tokenizer.rows(negativePrompt)];
    const count = Math.max(...prompts.map((rows) => rows.length));
    const empty = tokenizer.rows("");
    const rows = prompts.flatMap((own) => [
      ...own,
      ...Array<Row[]>(count - own.length)
        .fill(empty)
        .flat(),
    ]);
    const own = plan.merged && variantNamed(manifest.unet, plan.merged).text_encoder;
    const opened = await this.open((own ?? manifest.text_encoder).graph, work);
    const lora = own ? new Map<string, Tensor>() : await this.lora(plan, packOf, work);
    stopIfAborted(work.signal);
    const [promptEmbeds, negativePromptEmbeds] = await run(opened, rows, lora, output);
    return { promptEmbeds, negativePromptEmbeds };
  }

  async release(): Promise<void> {
    for (const [url, { session }] of this.opened) {
      this.opened.delete(url);
      await session.release();
    }
  }

  private outputFor(clipSkip: number): string {
    const outputs = [LAST, ...(this.parts.manifest.text_encoder.skipped ?? [])];
    const output = outputs[clipSkip];
    if (output) return output;
    const most = outputs.length - 1;
    const message =
      `The text encoder cannot leave out its last ${clipSkip} layers; ` +
      (most ? `choose a whole number from 0 to ${most}.` : "this bundle's gives all or nothing.");
    throw new EngineProblem("request", message, "clipSkip");
  }

  private async loadTokenizer(work: Work): Promise<PromptTokenizer> {
    if (!this.tokenizer) {
      const { files, manifest } = this.parts;
      const settings = manifest.tokenizer;
      const json = await loadObject(files, settings.tokenizer_json, work);
      const config = await loadObject(files, settings.tokenizer_config, work);
      this.tokenizer = new PromptTokenizer(json, config, settings);
    }
    return this.tokenizer;
  }

  /** The base's LoRA inputs, for every slot. */
  private async lora(
    { external }: StylePlan,
    packOf: (style: Style) => Promise<Pack>,
    work: Work,
  ): Promise<Map<string, Tensor>> {
    const { files, manifest } = this.parts;
    this.slots ??= (await loadJson(files, manifest.text_encoder.slots, "SlotTable", work)).slots;
    const styles = [];
    for (const { style, strength } of external) {
      const pack = await packOf(style);
      checkTextPart(pack, this.slots);
      styles.push({ pack, strength });
    }
    return stack(styles, this.slots);
  }

  private async open(graph: Graph, work: Work): Promise<WasmSession> {
    const known = this.opened.get(graph.file.url);
    if (known) return known;
    const { files, manifest } = this.parts;
    if (!this.severalFit) await this.release();
    const opened = await openOnWasm(this.parts, "text encoder", graph, this.threads, work);
    this.opened.set(graph.file.url, opened);
    // The session has its own copy; a merged style's encoder reads most of them again.
    const othersRead = manifest.unet.some((variant) => variant.text_encoder);
    const dropped = this.severalFit && othersRead ? [] : shardsOf(manifest, graph);
    for (const ref of dropped) files.drop(ref);
    return opened;
  }
}

/** The states of two prompts of as many rows, `[1, tokens, width]` each, weighed. */
async function run(
  { ort, session }: WasmSession,
  rows: readonly Row[],
  lora: ReadonlyMap<string, Tensor>,
  output: string,
): Promise<[WireTensor, WireTensor]> {
  const length = rows[0]?.ids.length ?? 0;
  const ids = BigInt64Array.from(rows.flatMap((row) => row.ids.map(BigInt)));
  const feeds: Record<string, InstanceType<Ort["Tensor"]>> = {
    input_ids: new ort.Tensor("int64", ids, [rows.length, length]),
  };
  for (const [name, { data, shape }] of lora) feeds[name] = new ort.Tensor("float32", data, shape);
  const found = (await session.run(feeds, [output]))[output];
  if (!found) throw new Error(`the graph gave no ${output}`);
  const states = (await found.getData()) as Float32Array;
  const size = states.length / rows.length;
  for (const [i, { weights }] of rows.entries()) {
    weigh(states.subarray(i * size, (i + 1) * size), weights);
  }
  if (!states.every(Number.isFinite)) {
    const message =
      "The text encoder leaves what 32-bit numbers can hold. " +
      "Lower the strengths of the styles and the weights of the words.";
    throw new EngineProblem("numbers", message, "text_encoder");
  }
  const half = states.length / 2;
  const shape = [1, (rows.length / 2) * length, size / length];
  // Each with a buffer of its own, which the wire gives away.
  return [
    { data: states.slice(0, half), shape },
    { data: states.slice(half), shape: [...shape] },
  ];
}

function variantNamed(variants: readonly UNetVariant[], { name, variant }: Style): UNetVariant {
  const found = variants.find((one) => one.name === variant);
  if (found) return found;
  const message = `The bundle lists no UNet for the merged style ${name}. Export it again.`;
  throw new EngineProblem("manifest", message, name);
}
