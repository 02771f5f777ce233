import { useCallback, useEffect, useRef, useState } from "react";

const soonMs = 350;
/** Long enough for a pointer to get from a card to what describes it. */
const leaveMs = 160;

/** `no more`: unless the pointer goes on to what describes the style; `done`: at once. */
export type PeekWhen = "now" | "soon" | "no more" | "done";

export interface Peek {
  /** The name of the style that is looked at. */
  name: string | undefined;
  at(name: string, when: PeekWhen): void;
  stay(): void;
  leave(): void;
}

/** Which style is looked at: what hovers or has the focus, until it goes or Escape is pressed. */
export function usePeek(): Peek {
  const [name, setName] = useState<string>();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const later = useCallback((next: string | undefined, ms: number) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setName(next), ms);
  }, []);
  const stay = useCallback(() => clearTimeout(timer.current), []);
  const leave = useCallback(() => later(undefined, leaveMs), [later]);
  const at = useCallback<Peek["at"]>(
    (next, when) => {
      if (when === "no more") leave();
      else if (when === "done") later(undefined, 0);
      // Once one is open, the others are looked at as the pointer passes.
      else later(next, when === "now" ? 0 : name === undefined ? soonMs : 0);
    },
    [later, leave, name],
  );
  useEffect(() => {
    const onKey = ({ key }: KeyboardEvent) => key === "Escape" && later(undefined, 0);
    // On a touch screen nothing leaves; a touch elsewhere does.
    const onTouch = ({ target }: PointerEvent) => {
      if (!(target instanceof Element && target.closest(".cards"))) later(undefined, 0);
    };
    addEventListener("keydown", onKey);
    addEventListener("pointerdown", onTouch);
    return () => {
      removeEventListener("keydown", onKey);
      removeEventListener("pointerdown", onTouch);
      clearTimeout(timer.current);
    };
  }, [later]);
  return { name, at, stay, leave };
}
