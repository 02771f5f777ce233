import { useTranslation } from "react-i18next";
import type { Manifest } from "../../bundle/manifest.gen";
import { maxSeed, rollSeed, type Settings, samplerOf } from "../settings";
import type { ChangeSettings } from "../useSettings";
import { DiceIcon } from "./icons";
import { MoreSettings } from "./MoreSettings";
import { NumberField } from "./NumberField";
import { ShapePicker } from "./ShapePicker";

/** Shape, steps and seed in one row; what few people touch is folded away below. */
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
  const maxSteps = samplerOf(manifest, settings.sampler)?.max_steps ?? 50;
  return (
    <fieldset className="settings">
      <legend className="unseen">{t("settings.title")}</legend>
      <div className="settings-row">
        <ShapePicker model={manifest.model} settings={settings} change={change} />
        <NumberField
          label={t("settings.steps")}
          testId="steps"
          value={settings.steps}
          min={1}
          max={maxSteps}
          step={1}
          onChange={(steps) => change((now) => ({ ...now, steps }))}
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
      <MoreSettings manifest={manifest} settings={settings} change={change} />
    </fieldset>
  );
}
