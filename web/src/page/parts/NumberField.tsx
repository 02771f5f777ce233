import { useId, useState } from "react";
import { useTranslation } from "react-i18next";

export interface NumberRange {
  min: number;
  max: number;
  step: number;
  hint?: string;
}

/** A number; what lies outside `min` and `max` is not taken over, and brought inside on leaving. */
export function NumberField(
  props: NumberRange & {
    label: string;
    testId: string;
    value: number;
    onChange: (value: number) => void;
    hideLabel?: boolean;
  },
) {
  const { label, testId, value, min, max, step, onChange, hideLabel, hint } = props;
  const { t } = useTranslation();
  const id = useId();
  /** What stands in the field while it is not (yet) a valid number. */
  const [draft, setDraft] = useState<string>();

  const valid = (text: string) => {
    const number = Number(text);
    const whole = step % 1 !== 0 || Number.isInteger(number);
    return text.trim() !== "" && number >= min && number <= max && whole;
  };

  return (
    <div className="field">
      <label className={hideLabel ? "unseen" : "hint"} htmlFor={id}>
        {label}
      </label>
      <input
        id={id}
        type="number"
        inputMode={step % 1 === 0 ? "numeric" : "decimal"}
        data-testid={testId}
        min={min}
        max={max}
        step={step}
        value={draft ?? Number(value.toFixed(4))}
        aria-invalid={draft !== undefined && !valid(draft)}
        title={hint ?? t("settings.range", { min, max })}
        onChange={({ target }) => {
          setDraft(target.value);
          if (valid(target.value)) onChange(Number(target.value));
        }}
        onBlur={() => {
          if (draft?.trim() && !valid(draft)) {
            const inside = Math.min(max, Math.max(min, Number(draft)));
            onChange(step % 1 === 0 ? Math.round(inside) : inside);
          }
          setDraft(undefined);
        }}
      />
    </div>
  );
}
