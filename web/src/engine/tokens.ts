/** Prompts as token ids, as `CLIPTokenizerFast` makes them (the same rule as runtime/text.py). */

import { Tokenizer } from "@huggingface/tokenizers";
import type { Tokenizer as Settings } from "../bundle/manifest.gen";

export interface Tokens {
  /** Start, the prompt's tokens, end, then padding: `max_length` of them. */
  ids: number[];
  /** How many tokens did not fit and were cut off. */
  cut: number;
}

export class PromptTokenizer {
  readonly #tokenizer: Tokenizer;

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
  }

  encode(prompt: string): Tokens {
    const { max_length, bos_token_id, eos_token_id, pad_token_id } = this.settings;
    const { ids } = this.#tokenizer.encode(prompt, { add_special_tokens: false });
    const kept = ids.slice(0, max_length - 2);
    const row = [bos_token_id, ...kept, eos_token_id];
    const padding = Array<number>(max_length - row.length).fill(pad_token_id);
    return { ids: [...row, ...padding], cut: ids.length - kept.length };
  }
}
