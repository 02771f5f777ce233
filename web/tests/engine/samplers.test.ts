import { expect, test } from "vitest";
import { arrays } from "../../src/engine/arithmetic";
import { partsOf, tableFor } from "../../src/engine/samplers";

const history = { x: [Float32Array.of(1, 2)], e: [Float32Array.of(10, 20)], z: [] };

test("a row is the weighted sum of its terms", async () => {
  const parts = partsOf(
    [
      ["x", 0, 0.5],
      ["e", 0, -0.1],
    ],
    history,
  );
  expect(await arrays.read(arrays.weightedSum(parts))).toEqual(Float32Array.of(-0.5, -1));
});

test("a row that looks ahead is refused", () => {
  expect(() => partsOf([["z", 0, 1]], history)).toThrow(/z0 too early/);
  expect(() => partsOf([], history)).toThrow(/without terms/);
});

test("a step count without a table is refused with the range", () => {
  const table = { start_scale: 1, steps: [], restarts: [] };
  const tables = { name: "ddim", tables: { "1": table, "50": table } };
  expect(tableFor(tables, 50)).toBe(table);
  expect(() => tableFor(tables, 51)).toThrow("ddim has no table for 51 steps; choose 1 to 50");
});
