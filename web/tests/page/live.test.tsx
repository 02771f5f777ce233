import { renderHook } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { useLive } from "../../src/page/useLive";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function hand(live: boolean) {
  const paint = vi.fn();
  const hook = renderHook(({ live, at }) => useLive(live, at, paint), {
    initialProps: { live, at: "0.8" },
  });
  return { paint, move: (at: string, live = true) => hook.rerender({ live, at }) };
}

test("a hand that moves on paints once, when it rests", () => {
  const { paint, move } = hand(true);
  for (const at of ["0.75", "0.7", "0.65"]) {
    move(at);
    vi.advanceTimersByTime(100);
  }
  expect(paint).not.toHaveBeenCalled();
  vi.advanceTimersByTime(100);
  expect(paint).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1000);
  expect(paint).toHaveBeenCalledTimes(1);
});

test("a hand that comes back to where it was paints nothing", () => {
  const { paint, move } = hand(true);
  move("0.75");
  move("0.8");
  vi.advanceTimersByTime(1000);
  expect(paint).not.toHaveBeenCalled();
});

test("switching live on paints nothing by itself", () => {
  const { paint, move } = hand(false);
  move("0.5", false);
  move("0.5", true);
  vi.advanceTimersByTime(1000);
  expect(paint).not.toHaveBeenCalled();
  move("0.4");
  vi.advanceTimersByTime(1000);
  expect(paint).toHaveBeenCalledTimes(1);
});
