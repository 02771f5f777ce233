import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import type { Contribution } from "../../worker/protocol";
import { shareColour } from "../format";

/** How much of the change is each style's, as a bar in their colours. */
export function ShareBar({
  shares,
  styles,
}: {
  shares: readonly Contribution[];
  styles: readonly Style[];
}) {
  const { t, i18n } = useTranslation();
  const percent = new Intl.NumberFormat(i18n.language, { style: "percent" });
  const parts = shares.flatMap(({ name, share }) => {
    const place = styles.findIndex((style) => style.name === name);
    const title = styles[place]?.title;
    return title === undefined
      ? []
      : [{ name, share, title, said: percent.format(share), colour: shareColour(place) }];
  });
  if (parts.length < 2) return null;
  const said = parts.map(({ title, said }) => `${title} ${said}`).join(", ");
  return (
    <div className="shares">
      <div
        className="share-bar"
        data-testid="shares"
        role="img"
        aria-label={t("styles.shares", { shares: said })}
        title={t("styles.sharesHint")}
      >
        {parts.map(({ name, share, colour }) => (
          <span key={name} style={{ flexGrow: share, background: colour }} />
        ))}
      </div>
      <p className="share-names hint" aria-hidden="true">
        {parts.map(({ name, title, said, colour }) => (
          <span key={name}>
            <i style={{ background: colour }} />
            {title} {said}
          </span>
        ))}
      </p>
    </div>
  );
}
