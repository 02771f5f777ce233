import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";

/** What a style does, above the cards: pictures drawn with it, its makers' words, its trigger words. */
export function StylePeek({
  id,
  style,
  bundleUrl,
  stay,
  leave,
}: {
  id: string;
  style: Style;
  bundleUrl: string;
  /** The pointer has come onto it. */
  stay: () => void;
  leave: () => void;
}) {
  const { t } = useTranslation();
  const { title, description, trigger_words = [], examples = [], license } = style;
  return (
    <div
      className="peek"
      role="tooltip"
      id={id}
      data-testid="peek"
      onPointerEnter={stay}
      onPointerLeave={leave}
    >
      <div className="peek-sheet">
        {examples.length > 0 && (
          <div className="peek-pictures">
            {examples.map(({ url }, index) => (
              <img
                key={url}
                src={new URL(url, bundleUrl).href}
                alt={t("styles.example", { number: index + 1, title })}
                crossOrigin="anonymous"
              />
            ))}
          </div>
        )}
        <p>
          <b>{title}</b> {description}
        </p>
        {(trigger_words.length > 0 || license) && (
          <p className="hint">
            {trigger_words.length > 0 && t("styles.triggers", { words: trigger_words.join(", ") })}
            {trigger_words.length > 0 && license && " · "}
            {license}
          </p>
        )}
      </div>
    </div>
  );
}
