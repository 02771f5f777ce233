/** Prompts as token ids, as `CLIPTokenizerFast` makes them (the same rules as runtime/text.py). */

import { Tokenizer } from "@huggingface/tokenizers";
import type { Tokenizer as Settings } from "../bundle/manifest.gen";
import { EngineProblem } from "./problems";
import { makeChunks, parseAttention } from "./prompts";
import { firstTag } from "./tags";

/**
 * A chunk of a prompt as the text encoder reads it, `max_length` token ids and weights: start, the
 * chunk's tokens, end, then padding.
 */
export interface Row {
  ids: number[];
  weights: number[];
}

export class PromptTokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #comma: number | undefined;

  /**
   * @param tokenizerJson the parsed `tokenizer.json` of the bundle
   * @param config its parsed `tokenizer_config.json`
   * @param settings what the manifest says of it
   */
  constructor(
    tokenizerJson: object,
    config: object,
    readonly settings: Settings,
  ) {
    this.#tokenizer = new Tokenizer(tokenizerJson, config);
    const comma = this.tokenize(",");
    this.#comma = comma.length === 1 ? comma[0] : undefined;
  }

  /** The token ids of a text that is not weighted, without start and end. */
  tokenize(text: string): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
  }

  /**
   * A prompt's chunks, at least one (see prompts.ts).
   *
   * @throws EngineProblem `request` when a style tag is left in it
   */
  rows(prompt: string): Row[] {
    const tag = firstTag(prompt);
    if (tag) {
      const message =
        `The words hold the style tag ${tag}, which no text encoder reads. ` +
        "Take it out, and name the style where styles are chosen.";
      throw new EngineProblem("request", message, tag);
    }
    const { max_length, bos_token_id, eos_token_id, pad_token_id } = this.settings;
    const sections = parseAttention(prompt).map((section) =>
      section.map(({ text, weight }) => ({ ids: this.tokenize(text), weight })),
    );
    return makeChunks(sections, max_length - 2, this.#comma).map(({ ids, weights }) => {
      const padding = max_length - 2 - ids.length;
      return {
        ids: [bos_token_id, ...ids, eos_token_id, ...Array<number>(padding).fill(pad_token_id)],
        weights: [1, ...weights, ...Array<number>(padding + 1).fill(1)],
      };
    });
  }
}
