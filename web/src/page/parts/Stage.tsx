import { useTranslation } from "react-i18next";
import type { Settings } from "../settings";
import type { Engine } from "../useEngine";
import type { Painter } from "../usePainter";
import type { ChangeSettings } from "../useSettings";
import { Caption } from "./Caption";
import { Filmstrip } from "./Filmstrip";
import { Frame } from "./Frame";
import { ProblemNotice } from "./ProblemNotice";
import { ProgressLine } from "./ProgressLine";
import { ProviderLine } from "./ProviderLine";

/** The wall: the framed picture, and what is to be said about it. */
export function Stage({
  engine,
  painter,
  settings,
  change,
  generate,
}: {
  engine: Engine & { retry: () => void };
  painter: Painter;
  settings: Settings | undefined;
  change: ChangeSettings;
  generate: () => void;
}) {
  const { t } = useTranslation();
  const { shown, phase, problem } = painter;
  const reopen = () => {
    painter.dismiss();
    engine.retry();
  };
  const opening = !engine.ready && !engine.problem;
  return (
    <section className="stage" id="picture" tabIndex={-1} aria-label={t("stage.region")}>
      <Frame engine={engine} painter={painter} />
      <div className="under">
        {engine.problem && (
          <ProblemNotice problem={engine.problem} retry={engine.retry} dismiss={undefined} />
        )}
        {problem && (
          <ProblemNotice
            problem={problem}
            // A worker that fell over does not get up by itself.
            retry={problem.code === "internal" ? reopen : generate}
            dismiss={painter.dismiss}
          />
        )}
        {(opening || phase) && <ProgressLine loading={engine.loading} phase={phase} />}
        {shown && !phase && !problem && (
          <Caption picture={shown} manifest={engine.manifest} current={settings} change={change} />
        )}
      </div>
      <Filmstrip painter={painter} />
      {engine.ready && <ProviderLine report={engine.ready.report} />}
    </section>
  );
}
