import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import { type Settings, setStrength, stylesOn, toggleStyle } from "../settings";
import type { ChangeSettings } from "../useSettings";
import { CheckIcon } from "./icons";
import { StrengthRow } from "./StrengthRow";
import { StyleTile } from "./StyleTile";

/** Cards like filters in a camera; below them a slider for each one that is on. */
export function StylePicker({
  settings,
  styles,
  bundleUrl,
  change,
}: {
  settings: Settings;
  styles: readonly Style[];
  bundleUrl: string;
  change: ChangeSettings;
}) {
  const { t } = useTranslation();
  const on = stylesOn(settings, styles);
  return (
    <fieldset className="group">
      <legend className="title">{t("styles.title")}</legend>
      {styles.length === 0 && <p className="hint">{t("styles.none")}</p>}
      <div className="cards">
        {styles.map((style) => (
          <button
            key={style.name}
            type="button"
            className="card"
            data-testid={`style-${style.name}`}
            aria-pressed={settings.styles[style.name]?.on ?? false}
            title={style.description}
            onClick={() => change((now) => toggleStyle(now, styles, style.name))}
          >
            <StyleTile style={style} bundleUrl={bundleUrl} />
            <span className="card-name">{style.title}</span>
            <span className="card-mark">
              <CheckIcon />
            </span>
          </button>
        ))}
      </div>
      {on.length > 0 && (
        <div className="mixer">
          {on.map((style) => (
            <StrengthRow
              key={style.name}
              style={style}
              strength={settings.styles[style.name]?.strength ?? 0}
              onChange={(strength) => change((now) => setStrength(now, style.name, strength))}
            />
          ))}
        </div>
      )}
    </fieldset>
  );
}
