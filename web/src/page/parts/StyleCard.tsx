import { useRef } from "react";
import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import type { PeekWhen } from "../usePeek";
import { CheckIcon, CloseIcon } from "./icons";
import { StyleTile } from "./StyleTile";

/** A finger that rests this long wants to look rather than choose. */
const pressMs = 450;

/**
 * A style like a filter in a camera: a click chooses it; a pointer or the focus that rests on it,
 * and a long press, show what it does.
 */
export function StyleCard({
  style,
  bundleUrl,
  on,
  described,
  toggle,
  peek,
  remove,
}: {
  style: Style;
  bundleUrl: string;
  on: boolean;
  /** The id of what describes it, while that is shown. */
  described: string | undefined;
  toggle: () => void;
  /** `soon`: when the pointer stays. */
  peek: (when: PeekWhen) => void;
  /** Of a style that is on this device alone. */
  remove: (() => void) | undefined;
}) {
  const { t } = useTranslation();
  const press = useRef<ReturnType<typeof setTimeout>>(undefined);
  const looked = useRef(false);
  const release = () => clearTimeout(press.current);
  return (
    <div className="card-place">
      <button
        type="button"
        className="card"
        data-testid={`style-${style.name}`}
        aria-pressed={on}
        aria-describedby={described}
        onPointerEnter={({ pointerType }) => pointerType === "mouse" && peek("soon")}
        onPointerLeave={() => {
          release();
          peek("no more");
        }}
        onPointerDown={({ pointerType }) => {
          looked.current = false;
          if (pointerType === "mouse") {
            peek("done"); // who clicks has seen enough, and wants what lies beneath
            return;
          }
          press.current = setTimeout(() => {
            looked.current = true;
            peek("now");
          }, pressMs);
        }}
        onPointerUp={release}
        onPointerCancel={release}
        onContextMenu={(event) => looked.current && event.preventDefault()}
        onFocus={({ target }) => target.matches(":focus-visible") && peek("now")}
        onBlur={() => peek("no more")}
        onClick={() => {
          if (!looked.current) toggle();
          looked.current = false;
        }}
      >
        <StyleTile style={style} bundleUrl={bundleUrl} />
        <span className="card-name">{style.title}</span>
        {remove && <span className="card-local">{t("styles.local")}</span>}
        <span className="card-mark">
          <CheckIcon />
        </span>
      </button>
      {remove && (
        <button
          type="button"
          className="card-remove"
          data-testid={`remove-${style.name}`}
          aria-label={t("styles.remove", { title: style.title })}
          title={t("styles.remove", { title: style.title })}
          onClick={remove}
        >
          <CloseIcon />
        </button>
      )}
    </div>
  );
}
