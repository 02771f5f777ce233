import { expect, test } from "vitest";
import { PaceMeter } from "../../src/engine/pace";

test("a pace needs time, forgets the distant past, and begins anew with a new file", () => {
  const meter = new PaceMeter(1000);
  expect(meter.measure(0, 100, 0)).toEqual({});
  expect(meter.measure(10, 100, 500)).toEqual({ rate: 20, left: 4.5 });
  meter.measure(10, 100, 1500);
  expect(meter.measure(60, 100, 2500).rate).toBe(50);
  expect(meter.measure(5, 100, 2600)).toEqual({});
});
