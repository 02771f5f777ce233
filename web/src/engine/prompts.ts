/**
 * What A1111's prompt syntax says of each token: its weight, and the chunk that it is read in. The
 * rules, and where they differ from A1111's, are told in runtime/prompts.py.
 */

const UP = 1.1;
const DOWN = 1 / 1.1;
/** Tokens behind a comma that go to the next chunk rather than be parted. */
const WRAP = 20;
/** Below this share of the states' mean magnitude their mean is chance, and is not restored. */
const SHARE = 0.003;

/** ASCII digits and spaces alone, and nothing to go back into: any prompt is read in linear time. */
const PIECE =
  /\\(?<literal>[()[\]\\]?)|(?<open>[([])|:[ \t\n\v\f\r]*(?<weight>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))[ \t\n\v\f\r]*\)|(?<close>[)\]])|[^\\()[\]:]+|:/g;
const BREAK = /(?<![\p{L}\p{N}_])BREAK(?![\p{L}\p{N}_])/u;

/** A part of a prompt, and the weight of all its tokens. */
export interface Words {
  text: string;
  weight: number;
}

/** What the text encoder reads at once: token ids, without start and end, and their weights. */
export interface Chunk {
  ids: number[];
  weights: number[];
}

/**
 * The weighted parts of a prompt, in sections that `BREAK` separates. `(x)` is x times 1.1, `[x]` x
 * over 1.1, `(x:1.3)` x times 1.3; brackets multiply, a backslash takes a bracket's meaning away.
 */
export function parseAttention(prompt: string): Words[][] {
  const multipliers = findMultipliers(prompt);
  const sections: Words[][] = [[]];
  // Of the brackets that are open, outermost first.
  const products = { "(": [1], "[": [1] };

  const add = (text: string) => {
    const weight = last(products["("]) * last(products["["]);
    const section = last(sections);
    const before = section.at(-1);
    if (text === "") return;
    if (before?.weight === weight) before.text += text;
    else section.push({ text, weight });
  };

  for (const piece of prompt.matchAll(PIECE)) {
    const { open, literal } = piece.groups ?? {};
    const closes = kindClosed(piece);
    if (open === "(" || open === "[") {
      const product = products[open];
      product.push(last(product) * (multipliers.get(piece.index) ?? 1));
    } else if (closes && products[closes].length > 1) products[closes].pop();
    else if (literal !== undefined) add(literal);
    else {
      for (const [i, text] of piece[0].split(BREAK).entries()) {
        if (i > 0) sections.push([]);
        add(text);
      }
    }
  }
  return sections;
}

/** The bracket that a piece closes, if one of its kind is open. */
function kindClosed({ groups = {} }: RegExpExecArray): "(" | "[" | undefined {
  if (groups.weight !== undefined || groups.close === ")") return "(";
  return groups.close === "]" ? "[" : undefined;
}

/** Place of each opening bracket -> what it multiplies by. */
function findMultipliers(prompt: string): Map<number, number> {
  const found = new Map<number, number>();
  const opened: Record<"(" | "[", number[]> = { "(": [], "[": [] };
  for (const piece of prompt.matchAll(PIECE)) {
    const { open, weight } = piece.groups ?? {};
    const closes = kindClosed(piece);
    if (open === "(" || open === "[") {
      opened[open].push(piece.index);
      found.set(piece.index, open === "(" ? UP : DOWN);
    } else if (closes) {
      const place = opened[closes].pop();
      if (place !== undefined && weight !== undefined) found.set(place, Number(weight));
    }
  }
  return found;
}

/**
 * Tokens in chunks of at most `size`, at least one chunk and one per section. A full chunk ends
 * behind its last comma where that is among its last 20 tokens, and the rest goes to the next one.
 *
 * @param sections the token ids of each part of each section, and their weight
 * @param size tokens per chunk, without start and end
 * @param comma the comma's token id
 */
export function makeChunks(
  sections: readonly (readonly { ids: readonly number[]; weight: number }[])[],
  size: number,
  comma: number | undefined,
): Chunk[] {
  const chunks: Chunk[] = [];
  for (const [number, section] of sections.entries()) {
    let chunk: Chunk = { ids: [], weights: [] };
    let lastComma = -1;
    for (const { ids, weight } of section) {
      for (const token of ids) {
        if (chunk.ids.length === size) {
          const near = lastComma >= 0 && size - lastComma <= WRAP && token !== comma;
          const end = near ? lastComma + 1 : size;
          const rest = { ids: chunk.ids.splice(end), weights: chunk.weights.splice(end) };
          chunks.push(chunk);
          chunk = rest;
          lastComma = -1;
        } else if (token === comma) lastComma = chunk.ids.length;
        chunk.ids.push(token);
        chunk.weights.push(weight);
      }
    }
    const isLast = number === sections.length - 1;
    if (chunk.ids.length > 0 || !isLast || chunks.length === 0) chunks.push(chunk);
  }
  return chunks;
}

/**
 * Multiplies a chunk's states by the weights of their tokens, then restores their mean (A1111's
 * emphasis "Original"), unless that is almost nothing beside the states.
 *
 * @param states `[tokens, width]`, changed in place
 * @param weights one for each token, start, end and padding included
 */
export function weigh(states: Float32Array, weights: readonly number[]): void {
  if (weights.every((weight) => weight === 1)) return;
  const width = states.length / weights.length;
  let before = 0;
  let magnitude = 0;
  let after = 0;
  for (const [token, weight] of weights.entries()) {
    const factor = Math.fround(weight);
    for (let i = token * width; i < (token + 1) * width; i++) {
      const state = states[i] as number;
      before += state;
      magnitude += Math.abs(state);
      states[i] = state * factor;
      after += states[i] as number;
    }
  }
  if (Math.abs(before) < SHARE * magnitude) return;
  const ratio = Math.fround(before / after);
  for (let i = 0; i < states.length; i++) states[i] = (states[i] as number) * ratio;
}

function last<T>(items: readonly T[]): T {
  return items[items.length - 1] as T;
}
