import { useId } from "react";
import { useTranslation } from "react-i18next";
import type { Model } from "../../bundle/manifest.gen";
import type { Settings } from "../settings";
import { shapesOf } from "../sizes";
import type { ChangeSettings } from "../useSettings";

/** The picture's shape, as frames to choose from. */
export function ShapePicker({
  model,
  settings,
  change,
}: {
  model: Model;
  settings: Settings;
  change: ChangeSettings;
}) {
  const { t } = useTranslation();
  const group = useId();
  const { width, height } = settings;
  const usual = shapesOf(model);
  // A link, a recipe or a picture may ask for another size; it is shown, and kept, as one more.
  const known = usual.some((shape) => shape.width === width && shape.height === height);
  const shapes = known ? usual : [...usual, { name: "other" as const, width, height }];
  return (
    <fieldset className="shapes">
      <legend className="hint">{t("settings.shape")}</legend>
      <div className="shape-row">
        {shapes.map(({ name, width, height }) => (
          <label
            key={name}
            className="shape"
            title={`${t(`settings.shapes.${name}`)}, ${width} × ${height}`}
          >
            <input
              type="radio"
              className="unseen"
              name={group}
              data-testid={`shape-${name}`}
              aria-label={`${t(`settings.shapes.${name}`)}, ${width} × ${height}`}
              checked={settings.width === width && settings.height === height}
              onChange={() => change((now) => ({ ...now, width, height }))}
            />
            <span
              className="shape-frame"
              style={{
                aspectRatio: `${width} / ${height}`,
                [width > height ? "width" : "height"]: 20,
              }}
            />
          </label>
        ))}
      </div>
    </fieldset>
  );
}
