import { useEffect, useRef } from "react";

/** A hand that still moves is given this long to come to rest. */
const restMs = 150;

/** Calls `paint` after `watched` has changed and come to rest, while `live`. */
export function useLive(live: boolean, watched: string | undefined, paint: () => void): void {
  const painted = useRef(watched);
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
    const timer = setTimeout(() => {
      painted.current = watched;
      latest.current();
    }, restMs);
    return () => clearTimeout(timer);
  }, [live, watched]);
}
