import * as Slider from "@radix-ui/react-slider";
import { useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import { changes } from "../../engine/manifest";
import { formatStrength } from "../format";
import { type StyleSetting, strengthRange, textStrength } from "../settings";
import { NumberField } from "./NumberField";

const step = 0.05;

/** How much of a style: on the picture, and on the words where it changes how they are read. */
export function StrengthRow({
  style,
  colour,
  setting,
  onChange,
}: {
  style: Style;
  /** Among several styles, which one's slider this is. */
  colour: string | undefined;
  setting: StyleSetting;
  onChange: (change: Partial<StyleSetting>) => void;
}) {
  const { t } = useTranslation();
  const { name, title } = style;
  const { strength } = setting;
  const te = textStrength(style, setting);
  // It does not shrink again under the finger that comes back from afar.
  const reached = useRef<number[]>([]);
  const [min, max] = strengthRange(style, strength, te, ...reached.current);
  reached.current = [min, max];
  if (style.kind === "merged") {
    return (
      <div className="strength">
        <span className="strength-name">{title}</span>
        <span className="fixed">{t("styles.fixed", { value: formatStrength(strength) })}</span>
        <p className="hint strength-hint">{t("styles.fixedHint", { title })}</p>
      </div>
    );
  }
  return (
    <div className="strength" style={colour ? { ["--own" as string]: colour } : undefined}>
      <StrengthSlider
        id={name}
        heading={title}
        title={title}
        value={strength}
        {...{ min, max }}
        onChange={(strength) => onChange({ strength })}
      />
      {changes(style, "unet") && changes(style, "text_encoder") && (
        <StrengthSlider
          id={`${name}-words`}
          heading={t("styles.words")}
          title={t("styles.wordsOf", { title })}
          value={te}
          {...{ min, max }}
          onChange={(te) => onChange({ te })}
        />
      )}
      {strength === 0 && te === 0 && <p className="hint strength-hint">{t("styles.baseHint")}</p>}
    </div>
  );
}

/** A slider, and the number for those who know it. */
function StrengthSlider({
  id,
  heading,
  title,
  value,
  min,
  max,
  onChange,
}: {
  id: string;
  heading: string;
  /** What it is the strength of. */
  title: string;
  value: number;
  min: number;
  max: number;
  onChange: (value: number) => void;
}) {
  const { t } = useTranslation();
  return (
    <>
      <span className="strength-name" title={heading}>
        {heading}
      </span>
      <Slider.Root
        className="slider"
        value={[value]}
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
          data-testid={`strength-${id}`}
          aria-label={t("styles.strengthOf", { title })}
          aria-valuetext={formatStrength(value)}
        />
      </Slider.Root>
      <NumberField
        label={t("styles.exact", { title })}
        hideLabel
        testId={`strength-value-${id}`}
        value={value}
        min={min}
        max={max}
        step={step}
        onChange={onChange}
      />
    </>
  );
}
