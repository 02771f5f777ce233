import { describe, expect, test } from "vitest";
import { makeChunks, parseAttention, weigh } from "../../src/engine/prompts";
import { firstTag, takeTags } from "../../src/engine/tags";
import vectors from "../vectors/prompts.json";

const codes = (text: string) => [...text].map((char) => char.codePointAt(0) as number);
const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

test.each(vectors.parsed.map((one, i) => ({ ...one, i })))(
  "prompt $i is read as in Python",
  ({ parts, sections, chunks }) => {
    const prompt = parts.map(([text, count]) => (text as string).repeat(count as number)).join("");
    const parsed = parseAttention(prompt);
    expect(parsed.map((words) => words.map(({ text, weight }) => [text, weight]))).toEqual(
      sections,
    );
    const tokens = parsed.map((words) =>
      words.map(({ text, weight }) => ({ ids: codes(text), weight })),
    );
    const found = makeChunks(tokens, 75, ",".charCodeAt(0));
    expect(found.map(({ ids }) => [ids.length, sum(ids)])).toEqual(
      chunks.map((chunk) => chunk.slice(0, 2)),
    );
    for (const [i, { weights }] of found.entries()) {
      expect(sum(weights)).toBeCloseTo(chunks[i]?.[2] as number, 9);
    }
  },
);

describe("hostile prompts take linear time", () => {
  test.each([
    "(".repeat(300_000),
    `${"(".repeat(150_000)}a${":1.0001)".repeat(150_000)}`,
    "(a".repeat(100_000) + ")".repeat(100_000),
    "[(".repeat(100_000) + "a])".repeat(100_000),
    ":".repeat(300_000),
    `:${" ".repeat(300_000)}:${"1".repeat(300_000)}(x:${"9".repeat(300_000)}`,
    "\\".repeat(300_000),
    " ".repeat(300_000) + "BREAK".repeat(60_000) + " BREAK".repeat(60_000),
    "<lora:a".repeat(100_000),
    "<lora:a:1>".repeat(50_000),
  ])("%#", (prompt) => {
    const began = performance.now();
    parseAttention(prompt);
    takeTags(prompt);
    expect(performance.now() - began).toBeLessThan(20_000); // under 1 s when it was written
  });
});

test.each(vectors.tagged)("the tags of $prompt", ({ prompt, rest, styles, refused }) => {
  if (refused === undefined) expect(takeTags(prompt)).toEqual({ prompt: rest, styles });
  else {
    const complaint = refused.replaceAll("'", '"'); // the quotes of either language
    expect(() => takeTags(prompt)).toThrow(complaint);
    expect(() => takeTags(prompt)).toThrow(expect.objectContaining({ code: "request" }) as Error);
  }
});

test("the first tag", () => {
  expect(firstTag("a <lora:ink:1> <lora:oil:1>")).toBe("<lora:ink:1>");
  expect(firstTag("a <lora:>")).toBeUndefined();
});

test("states are weighed as in Python", () => {
  for (const { states, expected } of vectors.weighed) {
    const found = Float32Array.from(states);
    weigh(found, vectors.weights);
    for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 6);
  }
});

test("without weights, states stay what they are", () => {
  const states = Float32Array.of(1, 2, 3, 4);
  weigh(states, [1, 1]);
  expect([...states]).toEqual([1, 2, 3, 4]);
});
