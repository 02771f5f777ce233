import { useCallback, useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Compare } from "../useCompare";
import { CompareIcon } from "./icons";

/** Shorter is a click, which leaves the base where it is until the next one. */
const holdMs = 350;

const isKey = (key: string) => key === " " || key === "Enter";

/**
 * Held down it shows the picture at strength 0, by pointer or by key; clicked it shows it until it is
 * clicked again, for those who cannot hold. Alt+B does the same from anywhere.
 */
export function CompareButton({ compare }: { compare: Compare }) {
  const { t } = useTranslation();
  const { held, painting, hold } = compare;
  /** When the press began, and whether the base was shown before it. */
  const press = useRef<{ at: number; before: boolean } | undefined>(undefined);

  const begin = useCallback(() => {
    if (press.current) return;
    press.current = { at: performance.now(), before: held };
    hold(true);
  }, [held, hold]);
  const end = useCallback(() => {
    const begun = press.current;
    press.current = undefined;
    if (begun && (begun.before || performance.now() - begun.at >= holdMs)) hold(false);
  }, [hold]);

  useEffect(() => {
    const down = (event: KeyboardEvent) => {
      if (!event.altKey || event.code !== "KeyB" || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      if (!event.repeat) begin();
    };
    const up = ({ code, key }: KeyboardEvent) => {
      if (code === "KeyB" || key === "Alt") end();
    };
    addEventListener("keydown", down);
    addEventListener("keyup", up);
    addEventListener("blur", end); // the key may come up in another window
    return () => {
      removeEventListener("keydown", down);
      removeEventListener("keyup", up);
      removeEventListener("blur", end);
    };
  }, [begin, end]);

  return (
    <button
      type="button"
      className="compare"
      data-testid="compare"
      aria-pressed={held}
      aria-keyshortcuts="Alt+B"
      aria-label={t("compare.label")}
      title={t("compare.hint")}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture?.(event.pointerId);
        begin();
      }}
      onPointerUp={end}
      onPointerCancel={end}
      onContextMenu={(event) => event.preventDefault()} // of a long touch
      onKeyDown={(event) => {
        if (!isKey(event.key)) return;
        event.preventDefault();
        if (!event.repeat) begin();
      }}
      onKeyUp={(event) => {
        if (!isKey(event.key)) return;
        event.preventDefault();
        end();
      }}
      onClick={({ detail }) => {
        if (detail === 0) hold(!held); // no pointer did this: a screen reader
      }}
    >
      <CompareIcon />
      <span>{t(painting ? "compare.painting" : "compare.button")}</span>
    </button>
  );
}
