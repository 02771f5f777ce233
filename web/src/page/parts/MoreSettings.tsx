import * as Slider from "@radix-ui/react-slider";
import { useId } from "react";
import { useTranslation } from "react-i18next";
import type { Manifest } from "../../bundle/manifest.gen";
import {
  chooseSampler,
  maxCacheInterval,
  maxClipSkip,
  maxGuidance,
  type Settings,
} from "../settings";
import type { ChangeSettings } from "../useSettings";
import { NumberField } from "./NumberField";

/** Sampler, guidance and clip skip: folded away, for those who want them. */
export function MoreSettings({
  manifest,
  settings,
  change,
}: {
  manifest: Manifest;
  settings: Settings;
  change: ChangeSettings;
}) {
  const { t, i18n } = useTranslation();
  const sampler = useId();
  const { guidanceRange } = settings;
  const percent = new Intl.NumberFormat(i18n.language, { style: "percent" });
  const range = guidanceRange.map((part) => percent.format(part)).join(" – ");
  return (
    <details className="more">
      <summary data-testid="more">{t("settings.more")}</summary>
      <div className="more-row">
        <div className="field">
          <label className="hint" htmlFor={sampler}>
            {t("settings.sampler")}
          </label>
          <select
            id={sampler}
            data-testid="sampler"
            value={settings.sampler}
            onChange={({ target }) => change((now) => chooseSampler(now, manifest, target.value))}
          >
            {manifest.samplers.map(({ name, title }) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        </div>
        <NumberField
          label={t("settings.guidance")}
          testId="guidance"
          value={settings.guidance}
          min={1}
          max={maxGuidance}
          step={0.5}
          hint={t("settings.guidanceHint")}
          onChange={(guidance) => change((now) => ({ ...now, guidance }))}
        />
        <NumberField
          label={t("settings.clipSkip")}
          testId="clip-skip"
          value={settings.clipSkip}
          min={0}
          max={maxClipSkip}
          step={1}
          hint={t("settings.clipSkipHint")}
          onChange={(clipSkip) => change((now) => ({ ...now, clipSkip }))}
        />
        <NumberField
          label={t("settings.cacheInterval")}
          testId="cache-interval"
          value={settings.cacheInterval}
          min={1}
          max={maxCacheInterval}
          step={1}
          hint={t("settings.cacheIntervalHint")}
          onChange={(cacheInterval) => change((now) => ({ ...now, cacheInterval }))}
        />
      </div>
      <div className="guided" title={t("settings.guidedHint")}>
        <span className="hint">
          {t("settings.guided")} <b>{range}</b>
        </span>
        <Slider.Root
          className="slider"
          value={guidanceRange}
          min={0}
          max={1}
          step={0.05}
          minStepsBetweenThumbs={1}
          onValueChange={([from = 0, to = 1]) =>
            change((now) => ({ ...now, guidanceRange: [from, to] }))
          }
        >
          <Slider.Track className="slider-track">
            <Slider.Range className="slider-range" />
          </Slider.Track>
          {(["guidedFrom", "guidedTo"] as const).map((name, index) => (
            <Slider.Thumb
              key={name}
              className="slider-thumb"
              data-testid={name}
              aria-label={t(`settings.${name}`)}
              aria-valuetext={percent.format(guidanceRange[index] ?? 0)}
            />
          ))}
        </Slider.Root>
        <p className="hint">{t("settings.guidedHint")}</p>
      </div>
    </details>
  );
}
