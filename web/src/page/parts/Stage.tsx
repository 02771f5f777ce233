import { useTranslation } from "react-i18next";
import { needsReopening } from "../problem";
import type { Settings } from "../settings";
import type { Compare } from "../useCompare";
import type { Engine } from "../useEngine";
import type { Gallery } from "../useGallery";
import type { Painter } from "../usePainter";
import type { ChangeSettings } from "../useSettings";
import { Caption } from "./Caption";
import { Filmstrip } from "./Filmstrip";
import { Frame } from "./Frame";
import { KeepingLine } from "./KeepingLine";
import { ModeLine } from "./ModeLine";
import { ProblemNotice } from "./ProblemNotice";
import { ProgressLine } from "./ProgressLine";
import { ProviderLine } from "./ProviderLine";
import { StorageLine } from "./StorageLine";

/** The wall: the framed picture, and what is to be said about it. */
export function Stage({
  engine,
  painter,
  compare,
  settings,
  change,
  generate,
  gallery,
}: {
  engine: Engine & { retry: () => void };
  painter: Painter;
  compare: Compare;
  settings: Settings | undefined;
  change: ChangeSettings;
  generate: () => void;
  gallery: Gallery;
}) {
  const { t } = useTranslation();
  const { shown, phase, problem } = painter;
  const reopen = () => {
    painter.dismiss();
    engine.retry();
  };
  const report = shown?.provider ?? engine.ready?.report;
  const opening = !engine.ready && !engine.problem;
  return (
    <section className="stage" id="picture" tabIndex={-1} aria-label={t("stage.region")}>
      <Frame engine={engine} painter={painter} compare={compare} size={settings} />
      <div className="under">
        {engine.problem && (
          <ProblemNotice problem={engine.problem} retry={engine.retry} dismiss={undefined} />
        )}
        {problem && (
          <ProblemNotice
            problem={problem}
            retry={needsReopening(problem) ? reopen : generate}
            dismiss={painter.dismiss}
          />
        )}
        {compare.problem && (
          <ProblemNotice
            problem={compare.problem}
            retry={() => compare.hold(true)}
            dismiss={undefined}
          />
        )}
        {(opening || phase) && <ProgressLine engine={engine} phase={phase} batch={painter.batch} />}
        {shown && !phase && !problem && (
          <Caption picture={shown} manifest={engine.manifest} current={settings} change={change} />
        )}
      </div>
      <Filmstrip painter={painter} />
      <KeepingLine problem={gallery.problem} painted={painter.pictures.length > 0} />
      {engine.ready && <ModeLine choice={engine.ready.engine.report()} />}
      {report && <ProviderLine report={report} notices={shown?.notices ?? []} />}
      {engine.ready?.storage && <StorageLine storage={engine.ready.storage} />}
    </section>
  );
}
