import { useEffect, useId, useRef, useState } from "react";
import { useTranslation } from "react-i18next";

/** A button that asks, in its own place, before it does what cannot be undone. */
export function ConfirmButton({
  label,
  name = label,
  question,
  yes,
  testId,
  disabled,
  confirm,
}: {
  label: string;
  /** For a screen reader, where `label` alone does not say of what. */
  name?: string;
  question: string;
  yes: string;
  testId: string;
  disabled?: boolean;
  confirm: () => void;
}) {
  const { t } = useTranslation();
  const [asking, setAsking] = useState(false);
  const keep = useRef<HTMLButtonElement>(null);
  const first = useRef<HTMLButtonElement>(null);
  const asked = useRef(false);
  const questionId = useId();
  useEffect(() => {
    if (asking)
      keep.current?.focus(); // the harmless one
    else if (asked.current) first.current?.focus();
    asked.current = asking;
  }, [asking]);
  if (!asking) {
    return (
      <button
        ref={first}
        type="button"
        className="plain"
        data-testid={testId}
        aria-label={name}
        disabled={disabled}
        onClick={() => setAsking(true)}
      >
        {label}
      </button>
    );
  }
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset would need a legend, which is the question
    <span
      className="confirm"
      role="group"
      aria-labelledby={questionId}
      onKeyDown={(event) => {
        if (event.key === "Escape") setAsking(false);
      }}
    >
      <span id={questionId}>{question}</span>
      <button
        type="button"
        className="quiet danger"
        data-testid={`${testId}-yes`}
        aria-describedby={questionId}
        onClick={() => {
          setAsking(false);
          confirm();
        }}
      >
        {yes}
      </button>
      <button
        ref={keep}
        type="button"
        className="quiet"
        aria-describedby={questionId}
        onClick={() => setAsking(false)}
      >
        {t("actions.keep")}
      </button>
    </span>
  );
}
