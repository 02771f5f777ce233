import { useTranslation } from "react-i18next";
import type { ProviderReport } from "../../worker/protocol";
import { formatError } from "../format";

type Name = ProviderReport["provider"];
const names: readonly Name[] = ["webgpu", "jsep", "wasm"];

/** Which execution provider computes, and how far it is from PyTorch. */
export function ProviderLine({ report }: { report: ProviderReport }) {
  const { t } = useTranslation();
  const { provider, compute, threads, error, tolerance, refused } = report;
  const what = [
    t(`provider.${provider}`),
    compute,
    provider === "wasm" && t("provider.threads", { count: threads }),
  ].filter(Boolean);
  const distance = t("provider.distance", { error: formatError(error) });
  return (
    <div className="provider">
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
