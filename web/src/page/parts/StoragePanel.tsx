import { useCallback, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import type { KeptStyle } from "../../engine/keptstyles";
import { formatBytes } from "../format";
import { type PageProblem, problemIn } from "../problem";
import { browserStorage, type Kept, type StorageDesk, sizeOf } from "../storagedesk";
import type { Gallery } from "../useGallery";
import type { LocalStyles } from "../useLocalStyles";
import { ConfirmButton } from "./ConfirmButton";
import { ProblemNotice } from "./ProblemNotice";

/** Bundles, styles and pictures that this browser keeps, with their sizes. */
export function StoragePanel({
  local,
  gallery,
  baseHash,
  desk = browserStorage,
}: {
  local: LocalStyles;
  gallery: Gallery;
  /** Of the bundle that is open. */
  baseHash: string | undefined;
  desk?: StorageDesk;
}) {
  const { t, i18n } = useTranslation();
  const [kept, setKept] = useState<Kept>();
  const [problem, setProblem] = useState<PageProblem>();
  const size = (bytes: number) => formatBytes(bytes, i18n.language);

  const look = useCallback(async () => {
    try {
      setKept(await desk.list());
    } catch (thrown) {
      setProblem(problemIn(thrown));
    }
  }, [desk]);
  useEffect(() => void look(), [look]);

  const doing = async (work: () => Promise<void>) => {
    setProblem(undefined);
    try {
      await work();
    } catch (thrown) {
      setProblem(problemIn(thrown));
    }
    await look();
  };
  const removeOwn = ({ key, base_hash, style }: KeptStyle) =>
    doing(async () => {
      // One that is open here is the worker's to forget; it may have another name than it was kept by.
      const name = base_hash === baseHash ? local.nameOf(style.source_sha256) : undefined;
      if (name !== undefined) await local.remove(name);
      else await desk.removeOwn(key);
    });

  if (!kept) {
    return problem ? (
      <ProblemNotice problem={problem} retry={() => void look()} dismiss={undefined} />
    ) : (
      <p className="hint">{t("keep.looking")}</p>
    );
  }
  const { bundles, own, usage, quota, persisted } = kept;
  const pictures = gallery.entries ?? [];
  const pictureBytes = pictures.reduce((sum, { bytes }) => sum + bytes, 0);
  const remove = (title: string, what: () => Promise<void>, testId: string) => (
    <ConfirmButton
      testId={testId}
      label={t("keep.remove")}
      name={t("keep.removeOf", { title })}
      question={t("keep.ask", { title })}
      yes={t("keep.remove")}
      confirm={() => void what()}
    />
  );
  return (
    <div className="keep" data-testid="storage-panel">
      {usage !== undefined && quota !== undefined && quota > 0 && (
        <div className="keep-quota">
          <div className="bar" aria-hidden="true">
            <div className="bar-fill" style={{ width: `${Math.max(1, (usage / quota) * 100)}%` }} />
          </div>
          <p className="hint">
            {t("keep.quota", { used: size(usage), all: size(quota) })}{" "}
            {t(persisted ? "keep.persisted" : "keep.evictable")}
          </p>
        </div>
      )}
      {problem && <ProblemNotice problem={problem} retry={undefined} dismiss={undefined} />}
      <ul className="keep-list">
        {bundles.map((bundle) => (
          <li key={bundle.manifestUrl}>
            <div className="keep-row">
              <span>
                <b>{bundle.name}</b>
                <small className="hint">
                  {t("keep.bundle", { place: t(`keep.places.${bundle.kind}`) })}
                </small>
              </span>
              <span className="keep-size">{size(bundle.bytes)}</span>
              {remove(
                bundle.name,
                () => doing(() => desk.removeBundle(bundle.manifestUrl)),
                "remove-bundle",
              )}
            </div>
            {bundle.styles.length > 0 && (
              <ul>
                {bundle.styles.map(({ name, title, bytes }) => (
                  <li key={name} className="keep-row">
                    <span>{title}</span>
                    <span className="keep-size">{size(bytes)}</span>
                    {remove(
                      title,
                      () => doing(() => desk.removeStyle(bundle.manifestUrl, name)),
                      `remove-kept-${name}`,
                    )}
                  </li>
                ))}
              </ul>
            )}
          </li>
        ))}
        {own.map((kept) => (
          <li key={kept.key} className="keep-row">
            <span>
              <b>{kept.style.title}</b>
              <small className="hint">{t("keep.own", { base: kept.base_name })}</small>
            </span>
            <span className="keep-size">{size(sizeOf(kept))}</span>
            {remove(kept.style.title, () => removeOwn(kept), `remove-own-${kept.style.name}`)}
          </li>
        ))}
        {pictures.length > 0 && (
          <li className="keep-row">
            <span>
              <b>{t("gallery.title")}</b>
              <small className="hint">{t("keep.pictures", { count: pictures.length })}</small>
            </span>
            <span className="keep-size">{size(pictureBytes)}</span>
          </li>
        )}
      </ul>
      {bundles.length + own.length + pictures.length === 0 && (
        <p className="hint">{t("keep.nothing")}</p>
      )}
    </div>
  );
}
