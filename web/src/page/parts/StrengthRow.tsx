import * as Slider from "@radix-ui/react-slider";
import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import { formatStrength } from "../format";
import { NumberField } from "./NumberField";

const step = 0.05;

/** How much of a style: a slider, and the number for those who know it. */
export function StrengthRow({
  style,
  strength,
  onChange,
}: {
  style: Style;
  strength: number;
  onChange: (strength: number) => void;
}) {
  const { t } = useTranslation();
  const { name, title } = style;
  if (style.kind === "merged") {
    return (
      <div className="strength">
        <span className="strength-name">{title}</span>
        <span className="fixed">{t("styles.fixed", { value: formatStrength(strength) })}</span>
        <p className="hint strength-hint">{t("styles.fixedHint", { title })}</p>
      </div>
    );
  }
  const { min = 0, max = 1.5 } = style.strength ?? {};
  return (
    <div className="strength">
      <span className="strength-name">{title}</span>
      <Slider.Root
        className="slider"
        value={[strength]}
        min={min}
        max={max}
        step={step}
        onValueChange={([value]) => value !== undefined && onChange(value)}
      >
        <Slider.Track className="slider-track">
          <Slider.Range className="slider-range" />
        </Slider.Track>
        <Slider.Thumb
          className="slider-thumb"
          data-testid={`strength-${name}`}
          aria-label={t("styles.strengthOf", { title })}
          aria-valuetext={formatStrength(strength)}
        />
      </Slider.Root>
      <NumberField
        label={t("styles.exact", { title })}
        hideLabel
        testId={`strength-value-${name}`}
        value={strength}
        min={min}
        max={max}
        step={step}
        onChange={onChange}
      />
      {strength === 0 && <p className="hint strength-hint">{t("styles.baseHint")}</p>}
    </div>
  );
}
