import { expect, test } from "vitest";
import { faultIn } from "../../src/bundle/validate";
import { mixedManifest } from "../manifest";
import samplers from "../vectors/samplers.json";

const tables = { name: "ddim", tables: { "6": samplers[1]?.table } };

test("right files have no fault", () => {
  expect(faultIn(mixedManifest(), "Manifest")).toBeUndefined();
  expect(faultIn(tables, "SamplerTables")).toBeUndefined();
});

test.each([
  ["a kind of term", ["y", 0, 1], "is none of x, e, z"],
  ["a weight", ["x", 0, "1"], "is not of type number"],
  ["an index", ["x", 0.5, 1], "is not of type integer"],
  ["a short term", ["x", 0], "has too few items"],
])("a fault in %s is told with its place", (_, term, fault) => {
  const step = { timestep: 1, input: [term], next: [], noise: false };
  const wrong = { name: "ddim", tables: { "1": { start_scale: 1, steps: [step], restarts: [] } } };
  expect(faultIn(wrong, "SamplerTables")).toMatch("tables.1.steps[0].input[0]");
  expect(faultIn(wrong, "SamplerTables")).toMatch(fault);
});

test("what may be null may be null", () => {
  const manifest = mixedManifest();
  const [style] = manifest.styles ?? [];
  expect(faultIn({ ...manifest, styles: [{ ...style, pack: null }] }, "Manifest")).toBeUndefined();
});
