import { useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Painter } from "../usePainter";

const apple = /Mac|iPhone|iPad/.test(navigator.platform);

const counts = [1, 2, 3, 4, 5, 6, 7, 8];

/** Generate, how many, cancel, and the live switch; on a phone they stay at the lower edge. */
export function Actions({
  ready,
  painter,
  live,
  setLive,
  count,
  setCount,
}: {
  ready: boolean;
  painter: Painter;
  live: boolean;
  setLive: (live: boolean) => void;
  /** Pictures per order, each with the next seed. */
  count: number;
  setCount: (count: number) => void;
}) {
  const { t } = useTranslation();
  const generate = useRef<HTMLButtonElement>(null);
  return (
    <div className="actions">
      <button
        ref={generate}
        type="submit"
        className="primary"
        data-testid="generate"
        disabled={!ready}
        aria-keyshortcuts={apple ? "Meta+Enter" : "Control+Enter"}
        title={t("actions.shortcut", { key: apple ? "⌘" : "Ctrl" })}
      >
        {t(
          painter.pictures.some(({ number }) => number > 0) ? "actions.again" : "actions.generate",
        )}
      </button>
      <select
        className="count"
        data-testid="count"
        aria-label={t("actions.count")}
        title={t("actions.countHint")}
        value={count}
        onChange={({ target }) => setCount(Number(target.value))}
      >
        {counts.map((number) => (
          <option key={number} value={number}>
            × {number}
          </option>
        ))}
      </select>
      {painter.phase && (
        <button
          type="button"
          className="quiet"
          data-testid="cancel"
          onClick={() => {
            painter.cancel();
            generate.current?.focus(); // this button goes away
          }}
        >
          {t("actions.cancel")}
        </button>
      )}
      <label className="live" title={t("actions.liveHint")}>
        <input
          type="checkbox"
          role="switch"
          aria-checked={live}
          className="switch"
          data-testid="live"
          checked={live}
          onChange={({ target }) => setLive(target.checked)}
        />
        {t("actions.live")}
      </label>
    </div>
  );
}
