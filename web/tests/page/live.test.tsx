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

test("a hand paints with its first move, and where it comes to rest", () => {
  const { paint, move } = hand(true);
  move("0.75");
  expect(paint).toHaveBeenCalledTimes(1);
  for (const at of ["0.7", "0.65", "0.6"]) {
    vi.advanceTimersByTime(100);
    move(at);
  }
  expect(paint).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(150);
  expect(paint).toHaveBeenCalledTimes(2);
  vi.advanceTimersByTime(1000);
  expect(paint).toHaveBeenCalledTimes(2);
  move("0.55");
  expect(paint).toHaveBeenCalledTimes(3);
});

test("a hand that comes back to where it has painted paints no more", () => {
  const { paint, move } = hand(true);
  move("0.75");
  move("0.7");
  move("0.75");
  vi.advanceTimersByTime(1000);
  expect(paint).toHaveBeenCalledTimes(1);
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
