import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import type { Phase } from "../draw";
import { formatBytes, formatSeconds } from "../format";
import type { Loading } from "../useEngine";

interface Look {
  text: string;
  detail: string;
  /** 0 to 1; undefined when nobody knows. */
  fraction: number | undefined;
}

/** How far the download or the picture is. */
export function ProgressLine({
  loading,
  phase,
}: {
  loading: Loading | undefined;
  phase: Phase | undefined;
}) {
  const { t, i18n } = useTranslation();
  const { text, detail, fraction } = phase
    ? lookOfPhase(phase, t, i18n.language)
    : lookOfLoading(loading, t, i18n.language);
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
  if (phase.name === "fetching") return lookOfLoading({ ...phase, pace: {} }, t, language);
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

function lookOfLoading(loading: Loading | undefined, t: TFunction, language: string): Look {
  if (!loading) return { text: t("progress.manifest"), detail: "", fraction: undefined };
  const { stage, loadedBytes, totalBytes, pace } = loading;
  const text = t(`progress.${stage}`);
  if (stage !== "shards" && stage !== "style") return { text, detail: "", fraction: undefined };
  const detail = [
    t("progress.bytes", {
      loaded: formatBytes(loadedBytes, language),
      total: formatBytes(totalBytes, language),
    }),
    pace.rate && t("progress.rate", { rate: formatBytes(pace.rate, language) }),
    pace.left !== undefined &&
      pace.left >= 1 &&
      t("progress.left", { time: formatSeconds(pace.left, language) }),
  ].filter(Boolean);
  return { text, detail: detail.join(" · "), fraction: loadedBytes / Math.max(totalBytes, 1) };
}
