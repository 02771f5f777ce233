import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Engine } from "../useEngine";
import type { Painter, Preview } from "../usePainter";
import { BrushStroke } from "./BrushStroke";

/** The picture in its mat; before there is one, an invitation. */
export function Frame({ engine, painter }: { engine: Engine; painter: Painter }) {
  const { t } = useTranslation();
  const { shown, preview, phase } = painter;
  const { loading, ready, problem } = engine;
  const fraction = ready ? 1 : loading ? loading.loadedBytes / Math.max(loading.totalBytes, 1) : 0;
  const percent = phase?.name === "drawing" ? (phase.step / phase.steps) * 100 : 0;
  const state = ready ? "invite" : problem ? "closed" : "opening";
  return (
    <div className="hang">
      <figure className="frame" aria-busy={phase !== undefined}>
        <div className="art">
          {!shown && !preview && (
            <div className="blank">
              <BrushStroke fraction={fraction} />
              <p className="invite">{t(`stage.${state}`)}</p>
              <p className="hint">{t("stage.private")}</p>
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
          {preview && <PreviewCanvas preview={preview} over={shown !== undefined} />}
        </div>
        {/* On a phone the picture stays in sight while the line that says how far it is may not. */}
        {phase && (
          <div className="frame-progress" aria-hidden="true" style={{ width: `${percent}%` }} />
        )}
      </figure>
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
