import { useTranslation } from "react-i18next";
import type { Notice, ProviderReport } from "../../worker/protocol";
import { formatError } from "../format";

type Name = ProviderReport["provider"];
const names: readonly Name[] = ["webgpu", "jsep", "webnn", "wasm"];

/** Which execution provider computes, how far it is from PyTorch, and who failed before it. */
export function ProviderLine({
  report,
  notices,
}: {
  report: ProviderReport;
  notices: readonly Notice[];
}) {
  const { t } = useTranslation();
  const way = ({ provider, compute }: Notice["from"]) => `${t(`provider.${provider}`)} ${compute}`;
  const { provider, compute, threads, error, tolerance, refused } = report;
  const what = [
    t(`provider.${provider}`),
    compute,
    provider === "wasm" && t("provider.threads", { count: threads }),
  ].filter(Boolean);
  const distance = t("provider.distance", { error: formatError(error) });
  return (
    <div className="provider">
      {notices.map(({ kind, from, to, reason }) => (
        <p key={`${kind} ${from.provider} ${from.compute}`} role="status">
          {t(`notice.${kind}`, { from: way(from), to: way(to), reason })}
        </p>
      ))}
      <details>
        <summary title={t("provider.details")}>
          <span data-testid="provider">
            {what.join(" · ")} — {distance}
          </span>
        </summary>
        <p>
          {t("provider.explain", {
            error: formatError(error),
            tolerance: formatError(tolerance),
          })}
        </p>
        {refused.length > 0 && (
          <>
            <p>{t("provider.refused")}</p>
            <ul>
              {refused.map(({ provider, compute, reason }) => (
                <li key={`${provider} ${compute} ${reason}`}>
                  <b>
                    {names.includes(provider as Name)
                      ? t(`provider.${provider as Name}`)
                      : provider}{" "}
                    · {compute}
                  </b>{" "}
                  {reason}
                </li>
              ))}
            </ul>
          </>
        )}
      </details>
    </div>
  );
}
