import { useEffect, useRef } from "react";

/** A hand that still moves is given this long to come to rest. */
const restMs = 150;

/**
 * Calls `paint` when `watched` changes, while `live`: at once for the first move of a hand that rested,
 * and after the last one, so that a picture begins with the move and ends with where it came to.
 */
export function useLive(live: boolean, watched: string | undefined, paint: () => void): void {
  const painted = useRef(watched);
  const moved = useRef(Number.NEGATIVE_INFINITY);
  const latest = useRef(paint);
  useEffect(() => {
    latest.current = paint;
  });
  useEffect(() => {
    const changed = painted.current !== undefined && watched !== painted.current;
    if (!live || !changed) {
      painted.current = watched;
      return;
    }
    const now = performance.now();
    const rested = now - moved.current >= restMs;
    moved.current = now;
    const begin = () => {
      painted.current = watched;
      latest.current();
    };
    if (rested) return begin();
    const timer = setTimeout(begin, restMs);
    return () => clearTimeout(timer);
  }, [live, watched]);
}
