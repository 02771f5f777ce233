import { useTranslation } from "react-i18next";
import type { Manifest } from "../../bundle/manifest.gen";
import { formatSeconds, formatStrength } from "../format";
import { fileName, type Picture } from "../gallery";
import { type Settings, samplerOf } from "../settings";
import type { ChangeSettings } from "../useSettings";
import { DownloadIcon } from "./icons";

/** The label beside a picture on a museum's wall. */
export function Caption({
  picture,
  manifest,
  current,
  change,
}: {
  picture: Picture;
  manifest: Manifest | undefined;
  /** What the controls say now. */
  current: Settings | undefined;
  change: ChangeSettings;
}) {
  const { t, i18n } = useTranslation();
  const { order, settings, milliseconds } = picture;
  const titles = new Map(manifest?.styles?.map(({ name, title }) => [name, title]));
  const styles = order.styles
    .filter(({ strength }) => strength !== 0)
    .map(({ name, strength }) => `${titles.get(name) ?? name} ${formatStrength(strength)}`);
  const facts = [
    styles.join(" + ") || t("label.base"),
    t("label.seed", { seed: order.seed }),
    `${(manifest && samplerOf(manifest, order.sampler)?.title) ?? order.sampler}, ${t("label.steps", { count: order.steps })}`,
    t("label.took", { time: formatSeconds(milliseconds / 1000, i18n.language, true) }),
  ];
  return (
    <div className="caption">
      <div className="caption-text">
        <p className="caption-title">{settings.prompt.trim() || t("stage.untitled")}</p>
        <p className="hint facts">
          {facts.map((fact) => (
            <span key={fact}>{fact}</span>
          ))}
        </p>
      </div>
      <div className="caption-actions">
        {JSON.stringify(settings) !== JSON.stringify(current) && (
          <button type="button" className="quiet" onClick={() => change(() => settings)}>
            {t("label.reuse")}
          </button>
        )}
        <a className="quiet" data-testid="download" href={picture.url} download={fileName(picture)}>
          <DownloadIcon />
          {t("label.download")}
        </a>
      </div>
    </div>
  );
}
