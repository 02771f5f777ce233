import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { PageProblem } from "../problem";
import { WarningIcon } from "./icons";

/** What went wrong, where, and what to do about it. */
export function ProblemNotice({
  problem,
  retry,
  dismiss,
}: {
  problem: PageProblem;
  retry: (() => void) | undefined;
  dismiss: (() => void) | undefined;
}) {
  const { t } = useTranslation();
  const notice = useRef<HTMLDivElement>(null);
  useEffect(() => {
    notice.current?.scrollIntoView?.({ block: "nearest" });
  }, []);
  const { code, message, where } = problem;
  return (
    <div className="problem" role="alert" data-testid="error" data-code={code} ref={notice}>
      <WarningIcon />
      <div className="problem-text">
        <p className="problem-title">{t(`problem.${code}.title`)}</p>
        <p>{t(`problem.${code}.advice`)}</p>
        {(message || where) && (
          <p className="problem-detail">
            {message}
            {where && !message.includes(where) && (
              <>
                {message && <br />}
                {t("problem.where")} <code>{where}</code>
              </>
            )}
          </p>
        )}
        <div className="problem-actions">
          {retry && (
            <button type="button" className="quiet" data-testid="retry" onClick={retry}>
              {t("problem.retry")}
            </button>
          )}
          {dismiss && (
            <button type="button" className="plain" onClick={dismiss}>
              {t("problem.dismiss")}
            </button>
          )}
        </div>
      </div>
    </div>
  );
}
