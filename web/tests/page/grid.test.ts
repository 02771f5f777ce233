// @vitest-environment node
import { describe, expect, test } from "vitest";
import {
  axisKinds,
  cellsOf,
  type GridPlan,
  seedsFrom,
  spanOf,
  valueName,
  valuesOf,
} from "../../src/page/grid";
import { firstSettings, maxSeed } from "../../src/page/settings";
import { fakeManifest, mergedStyle, style } from "../manifest";

const manifest = fakeManifest([style("miyazaki"), style("gothic"), mergedStyle("ink", 0.9)]);
const styles = manifest.styles ?? [];
const settings = firstSettings(manifest);
const strengths = (plan: GridPlan) =>
  cellsOf(plan, settings, styles).map(({ settings: { styles: of } }) =>
    Object.entries(of)
      .filter(([, { on }]) => on)
      .map(([name, { strength }]) => `${name} ${strength}`)
      .join(),
  );

describe("values", () => {
  test("go evenly from end to end, on the steps of their setting, each once", () => {
    const span = spanOf("strength", settings, manifest);
    expect(valuesOf(span, 4)).toEqual([0, 0.4, 0.8, 1.2]);
    expect(valuesOf({ min: 1, max: 50, step: 1, from: 4, to: 6 }, 8)).toEqual([4, 5, 6]);
    expect(valuesOf({ min: 1, max: 30, step: 0.5, from: 1, to: 8 }, 3)).toEqual([1, 4.5, 8]);
  });

  test("of seeds follow each other, and stay what seeds can be", () => {
    expect(seedsFrom(5, 3)).toEqual([5, 6, 7]);
    expect(seedsFrom(maxSeed, 2)).toEqual([maxSeed - 1, maxSeed]);
  });

  test("are called as the page calls them", () => {
    expect(valueName({ kind: "style", values: ["gothic"] }, 0, styles)).toBe("Gothic");
    expect(valueName({ kind: "strength", values: [0.85] }, 0, styles)).toBe("0.85");
  });
});

test("strength is an axis while a style with a slider is on, style while there are several", () => {
  expect(axisKinds(settings, styles)).toEqual(["strength", "seed", "steps", "guidance", "style"]);
  const off = { ...settings, styles: {} };
  expect(axisKinds(off, [])).toEqual(["seed", "steps", "guidance"]);
});

describe("cells", () => {
  test("come row by row, with both settings changed", () => {
    const plan: GridPlan = {
      x: { kind: "seed", values: [1, 2] },
      y: { kind: "steps", values: [4, 8, 12] },
    };
    const cells = cellsOf(plan, settings, styles);
    expect(cells.map(({ settings: { seed, steps } }) => [seed, steps])).toEqual([
      [1, 4],
      [2, 4],
      [1, 8],
      [2, 8],
      [1, 12],
      [2, 12],
    ]);
    expect(cells[3]).toMatchObject({ column: 1, row: 1 });
  });

  test("of one axis are a row", () => {
    expect(cellsOf({ x: { kind: "guidance", values: [1, 4] } }, settings, styles)).toHaveLength(2);
  });

  test("of styles by strengths draw each style at each strength, whichever way round", () => {
    const style = { kind: "style", values: ["miyazaki", "gothic"] } as const;
    const strength = { kind: "strength" as const, values: [0.4, 1] };
    const [x, y] = [{ ...style, values: [...style.values] }, strength];
    expect(strengths({ x, y })).toEqual(["miyazaki 0.4", "gothic 0.4", "miyazaki 1", "gothic 1"]);
    expect(strengths({ x: y, y: x })).toEqual([
      "miyazaki 0.4",
      "miyazaki 1",
      "gothic 0.4",
      "gothic 1",
    ]);
  });

  test("of a merged style leave its strength alone", () => {
    expect(strengths({ x: { kind: "style", values: ["ink", "gothic"] } })).toEqual([
      "ink 0.9",
      "gothic 0.8",
    ]);
  });
});
