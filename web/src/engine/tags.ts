/** Style tags in a prompt, as A1111 writes them (runtime/tags.py has the same rules). */

import { EngineProblem } from "./problems";

/** A style that a prompt names, with its strength on each model. */
export interface TaggedStyle {
  name: string;
  unet: number;
  te: number;
}

export interface TaggedPrompt {
  /** Without its tags; what stood around them is left as it was, as A1111 leaves it. */
  prompt: string;
  /** Each once, in the order in which they are named. */
  styles: TaggedStyle[];
}

/** What lies between stops at a bracket of either kind, so that looking for tags is linear. */
const TAG = /<lora:([^<>]+)>/g;
const NUMBER = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)$/;

/**
 * Takes `<lora:name>`, `<lora:name:both>`, `<lora:name:te:unet>` and `<lora:name:te=..:unet=..>` out
 * of a prompt. As in A1111 a strength that is not given is 1, and `unet` is as `te` where only that
 * is given. The strengths of a style that is named several times add up. Tags of other kinds
 * (`<hypernet:..>`) stay, as words.
 *
 * @throws EngineProblem `request` for a tag whose strengths cannot be read
 */
export function takeTags(prompt: string): TaggedPrompt {
  const styles = new Map<string, TaggedStyle>();
  const rest = prompt.replace(TAG, (tag: string, inside: string) => {
    const { name, unet, te } = readTag(tag, inside);
    const before = styles.get(name);
    styles.set(name, { name, unet: unet + (before?.unet ?? 0), te: te + (before?.te ?? 0) });
    return "";
  });
  return { prompt: rest, styles: [...styles.values()] };
}

/** The first tag in a text, if any: where no style can be chosen, it would be read as words. */
export function firstTag(text: string): string | undefined {
  return text.match(TAG)?.[0];
}

function readTag(tag: string, inside: string): TaggedStyle {
  const refuse = (what: string) =>
    new EngineProblem(
      "request",
      `The tag ${tag} ${what}. Write <lora:name:strength>, <lora:name:te:unet> or ` +
        "<lora:name:te=0.5:unet=0.8>.",
      tag,
    );
  const [name = "", ...fields] = inside.split(":").map((field) => field.trim());
  if (name === "") throw refuse("names no style");
  const inOrder: number[] = [];
  const named = new Map<string, number>();
  for (const field of fields) {
    const [left = "", right] = splitOnce(field, "=");
    const key = left.trim();
    const value = (right ?? left).trim();
    if (!NUMBER.test(value)) throw refuse(`has ${JSON.stringify(value)} where a number belongs`);
    if (right === undefined) inOrder.push(Number(value));
    else if (key === "te" || key === "unet") named.set(key, Number(value));
    else throw refuse(`has a field ${JSON.stringify(key)} beside te and unet`);
  }
  if (inOrder.length > 2) throw refuse("has more than two strengths");
  const te = named.get("te") ?? inOrder[0] ?? 1;
  return { name, te, unet: named.get("unet") ?? inOrder[1] ?? te };
}

function splitOnce(text: string, at: string): [string, string?] {
  const place = text.indexOf(at);
  return place < 0 ? [text] : [text.slice(0, place), text.slice(place + 1)];
}
