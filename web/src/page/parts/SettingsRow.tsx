import { useId } from "react";
import { useTranslation } from "react-i18next";
import type { Manifest } from "../../bundle/manifest.gen";
import {
  chooseSampler,
  maxGuidance,
  maxSeed,
  rollSeed,
  type Settings,
  samplerOf,
} from "../settings";
import type { ChangeSettings } from "../useSettings";
import { DiceIcon } from "./icons";
import { NumberField } from "./NumberField";

/** Sampler, steps, guidance and seed: one row, for those who want it. */
export function SettingsRow({
  manifest,
  settings,
  change,
}: {
  manifest: Manifest;
  settings: Settings;
  change: ChangeSettings;
}) {
  const { t } = useTranslation();
  const sampler = useId();
  const maxSteps = samplerOf(manifest, settings.sampler)?.max_steps ?? 50;
  return (
    <fieldset className="settings">
      <legend className="unseen">{t("settings.title")}</legend>
      <div className="settings-row">
        <div className="field settings-sampler">
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
          label={t("settings.steps")}
          testId="steps"
          value={settings.steps}
          min={1}
          max={maxSteps}
          step={1}
          onChange={(steps) => change((now) => ({ ...now, steps }))}
        />
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
        <div className="settings-seed">
          <NumberField
            label={t("settings.seed")}
            testId="seed"
            value={settings.seed}
            min={0}
            max={maxSeed}
            step={1}
            onChange={(seed) => change((now) => ({ ...now, seed }))}
          />
          <button
            type="button"
            className="icon-button"
            data-testid="dice"
            aria-label={t("settings.dice")}
            title={t("settings.dice")}
            onClick={() => change((now) => ({ ...now, seed: rollSeed() }))}
          >
            <DiceIcon />
          </button>
        </div>
      </div>
    </fieldset>
  );
}
