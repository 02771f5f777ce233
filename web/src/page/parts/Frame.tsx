import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Size } from "../sizes";
import type { Compare } from "../useCompare";
import type { Engine } from "../useEngine";
import type { Painter, Preview } from "../usePainter";
import { BrushStroke } from "./BrushStroke";
import { CompareButton } from "./CompareButton";

/** The picture in its mat; before there is one, an invitation. */
export function Frame({
  engine,
  painter,
  compare,
  size,
}: {
  engine: Engine;
  painter: Painter;
  compare: Compare;
  /** Of the next picture. */
  size: Size | undefined;
}) {
  const { t } = useTranslation();
  const { shown, preview, phase } = painter;
  const { loading, ready, problem } = engine;
  const fraction = ready ? 1 : loading ? loading.loadedBytes / Math.max(loading.totalBytes, 1) : 0;
  const percent = phase?.name === "drawing" ? (phase.step / phase.steps) * 100 : 0;
  const remote = ready?.engine.report().mode === "remote";
  const { width, height } = preview ?? shown?.order ?? size ?? { width: 1, height: 1 };
  const base = compare.held && compare.url;
  const state = ready ? "invite" : problem ? "closed" : "opening";
  return (
    <div className="hang">
      <figure
        className="frame"
        aria-busy={phase !== undefined || compare.painting}
        style={{ ["--aspect" as string]: width / height }}
      >
        <div className="art">
          {!shown && !preview && (
            <div className="blank">
              <BrushStroke fraction={fraction} />
              <p className="invite">{t(`stage.${state}`)}</p>
              <p className="hint">{t(remote ? "stage.remote" : "stage.private")}</p>
            </div>
          )}
          {shown && (
            <img
              key={shown.number}
              className="result"
              data-testid="result"
              data-number={shown.number}
              src={shown.url}
              alt={shown.order.prompt || t("stage.untitled")}
            />
          )}
          {base && (
            <>
              <img className="result base" data-testid="base" src={base} alt={t("compare.alt")} />
              <span className="base-mark">{t("compare.mark")}</span>
            </>
          )}
          {compare.possible && <CompareButton compare={compare} />}
          {preview && <PreviewCanvas preview={preview} over={shown !== undefined} />}
        </div>
        {/* On a phone the picture stays in sight while the line that says how far it is may not. */}
        {phase && (
          <div className="frame-progress" aria-hidden="true" style={{ width: `${percent}%` }} />
        )}
      </figure>
      <p className="unseen" aria-live="polite">
        {compare.painting ? t("compare.painting") : base ? t("compare.alt") : ""}
      </p>
    </div>
  );
}

/** Latents as a wash of colours, over the old picture at first, sharper step by step. */
function PreviewCanvas({ preview, over }: { preview: Preview; over: boolean }) {
  const { t } = useTranslation();
  const canvas = useRef<HTMLCanvasElement>(null);
  const { rgba, width, height, progress } = preview;
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const image = context.createImageData(width, height);
    image.data.set(rgba);
    context.putImageData(image, 0, 0);
  }, [rgba, width, height]);
  return (
    <canvas
      ref={canvas}
      className="preview"
      data-testid="preview"
      role="img"
      aria-label={t("stage.preview")}
      width={width}
      height={height}
      style={{
        opacity: over ? Math.min(1, progress * 2.5) : 1,
        filter: `blur(${0.8 + (1 - progress) * 5}cqw) saturate(${0.3 + 0.7 * progress})`,
      }}
    />
  );
}
