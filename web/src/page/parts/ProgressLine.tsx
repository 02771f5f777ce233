import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import type { Phase } from "../draw";
import { formatBytes, formatSeconds } from "../format";
import type { Engine } from "../useEngine";

interface Look {
  text: string;
  detail: string;
  /** 0 to 1; undefined when nobody knows. */
  fraction: number | undefined;
}

/** How far the download or the picture is. */
export function ProgressLine({
  engine,
  phase,
  batch,
}: {
  engine: Engine;
  phase: Phase | undefined;
  /** Which picture of how many. */
  batch?: { picture: number; count: number } | undefined;
}) {
  const { t, i18n } = useTranslation();
  const {
    text: doing,
    detail,
    fraction,
  } = phase ? lookOfPhase(phase, t, i18n.language) : lookOfLoading(engine, t, i18n.language);
  const text = batch && phase ? `${t("progress.batch", batch)} · ${doing}` : doing;
  const percent = fraction === undefined ? undefined : Math.round(fraction * 100);
  return (
    <div className="progress" data-testid="progress">
      <div
        className="bar"
        role="progressbar"
        aria-label={t("progress.label")}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={percent}
        aria-valuetext={[text, detail].filter(Boolean).join(", ")}
        data-unknown={percent === undefined || undefined}
      >
        <div className="bar-fill" style={{ width: `${percent ?? 0}%` }} />
      </div>
      <p className="progress-text">
        <span>{text}</span>
        <span className="hint">{detail}</span>
      </p>
    </div>
  );
}

function lookOfPhase(phase: Phase, t: TFunction, language: string): Look {
  if (phase.name === "fetching") return lookOfLoading({ loading: phase }, t, language);
  if (phase.name !== "drawing") {
    const fraction = phase.name === "developing" ? 1 : undefined;
    return { text: t(`progress.${phase.name}`), detail: "", fraction };
  }
  const { step, steps, milliseconds } = phase;
  const left = ((steps - step) * milliseconds) / 1000;
  return {
    text: t("progress.drawing", { step, steps }),
    detail: left >= 1 ? t("progress.left", { time: formatSeconds(left, language) }) : "",
    fraction: step / steps,
  };
}

function lookOfLoading({ loading, waiting }: Engine, t: TFunction, language: string): Look {
  if (!loading) {
    const text = t(waiting === undefined ? "progress.manifest" : "progress.waiting");
    return { text, detail: waiting ?? "", fraction: undefined };
  }
  const { stage, loadedBytes, totalBytes, storedBytes, storage } = loading;
  if (stage !== "shards" && stage !== "style") {
    return { text: t(`progress.${stage}`), detail: "", fraction: undefined };
  }
  const fraction = loadedBytes / Math.max(totalBytes, 1);
  const stored = storedBytes === totalBytes;
  const text = t(stored ? "progress.stored" : `progress.${stage}`);
  const { bytesPerSecond: rate, secondsLeft: left } = loading;
  const detail = [
    t("progress.bytes", {
      loaded: formatBytes(loadedBytes, language),
      total: formatBytes(totalBytes, language),
    }),
    rate && t("progress.rate", { rate: formatBytes(rate, language) }),
    left !== undefined && left >= 1 && t("progress.left", { time: formatSeconds(left, language) }),
    loading.waiting && t(`progress.waitingFor.${loading.waiting}`),
    storage === "memory" && t("progress.notKept"),
  ].filter(Boolean);
  return { text, detail: detail.join(" · "), fraction };
}
