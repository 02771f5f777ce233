import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { Manifest } from "../../bundle/manifest.gen";
import { type AxisKind, axisKinds, type GridPlan, valueName } from "../grid";
import { drawSheet } from "../gridsheet";
import { infotextFor } from "../infotext";
import { saveFile } from "../savefile";
import type { Settings } from "../settings";
import type { Grid } from "../useGrid";
import { type AxisChoice, AxisField, axisOf } from "./AxisField";
import { GridTable } from "./GridTable";
import { ProblemNotice } from "./ProblemNotice";
import { Sheet } from "./Sheet";

/** Pictures that differ in one or two settings, side by side. */
export function GridDialog({
  grid,
  settings,
  manifest,
  bundleUrl,
  ready,
}: {
  grid: Grid;
  settings: Settings;
  manifest: Manifest;
  bundleUrl: string;
  ready: boolean;
}) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const styles = manifest.styles ?? [];
  const kinds = axisKinds(settings, styles);
  const all = styles.map(({ name }) => name).slice(0, 8);
  const [across, setAcross] = useState<AxisChoice>({ kind: "strength", count: 4, styles: all });
  const [down, setDown] = useState<AxisChoice>({ kind: "none", count: 3, styles: all });
  /** What can no longer be chosen, because its style was turned off, gives way. */
  const usable = (choice: AxisChoice, without?: AxisChoice["kind"]): AxisChoice => {
    const offered = kinds.filter((kind) => kind !== without);
    if (choice.kind === "none" || offered.includes(choice.kind)) return choice;
    return { ...choice, kind: offered[0] as AxisKind };
  };
  const x = usable(across);
  const y = down.kind === x.kind ? { ...down, kind: "none" as const } : usable(down, x.kind);
  const plan = planOf(x, y, settings, manifest);
  const count = plan ? plan.x.values.length * (plan.y?.values.length ?? 1) : 0;

  return (
    <Sheet
      testId="grid-dialog"
      title={t("grid.title")}
      hint={t("grid.hint")}
      open={open}
      onOpenChange={setOpen}
      trigger={
        <button type="button" className="plain" data-testid="grid">
          {grid.running
            ? t("grid.progress", { done: grid.painted.length, total: grid.total })
            : t("grid.open")}
        </button>
      }
    >
      {grid.plan ? (
        <GridResult
          grid={grid}
          manifest={manifest}
          show={(cell) => {
            grid.open(cell);
            setOpen(false);
          }}
        />
      ) : (
        <>
          <AxisField
            label={t("grid.across")}
            testId="grid-x"
            choice={x}
            setChoice={setAcross}
            {...{ kinds, settings, manifest, bundleUrl }}
          />
          <AxisField
            label={t("grid.down")}
            testId="grid-y"
            choice={y}
            setChoice={setDown}
            kinds={["none", ...kinds.filter((kind) => kind !== x.kind)]}
            {...{ settings, manifest, bundleUrl }}
          />
          <div className="sheet-foot">
            <span className="hint">{t("grid.count", { count })}</span>
            <button
              type="button"
              className="primary"
              data-testid="grid-start"
              disabled={!ready || count < 2}
              onClick={() => plan && grid.start(plan)}
            >
              {t("grid.start")}
            </button>
          </div>
        </>
      )}
    </Sheet>
  );
}

function planOf(
  x: AxisChoice,
  y: AxisChoice,
  settings: Settings,
  manifest: Manifest,
): GridPlan | undefined {
  const across = axisOf(x, settings, manifest);
  const down = axisOf(y, settings, manifest);
  return across && { x: across, ...(down?.values.length && { y: down }) };
}

function GridResult({
  grid,
  manifest,
  show,
}: {
  grid: Grid;
  manifest: Manifest;
  show: (cell: Grid["painted"][number]) => void;
}) {
  const { t } = useTranslation();
  const { plan, settings, painted, total, running, problem } = grid;
  const styles = manifest.styles ?? [];
  if (!plan || !settings) return null;
  const percent = Math.round((painted.length / total) * 100);

  const save = async () => {
    const first = painted[0];
    if (!first) return;
    const axis = (side: NonNullable<GridPlan["y"]>) => ({
      title: t(`grid.kinds.${side.kind}`),
      names: side.values.map((_, index) => valueName(side, index, styles)),
    });
    const { order } = first.facts;
    const blob = await drawSheet({
      across: axis(plan.x),
      down: plan.y && axis(plan.y),
      title: settings.prompt,
      cells: painted,
      width: order.width,
      height: order.height,
      infotext: infotextFor(order, manifest),
    });
    saveFile(blob, `brushlet-grid-${plan.x.kind}${plan.y ? `-${plan.y.kind}` : ""}.png`);
  };

  return (
    <>
      <div className="progress">
        {running && (
          <div
            className="bar"
            role="progressbar"
            aria-label={t("progress.label")}
            aria-valuenow={percent}
          >
            <div className="bar-fill" style={{ width: `${percent}%` }} />
          </div>
        )}
        <p className="hint" role="status" data-testid="grid-progress">
          {t(painted.length === total ? "grid.done" : "grid.progress", {
            done: painted.length,
            total,
          })}
        </p>
      </div>
      {problem && <ProblemNotice problem={problem} retry={undefined} dismiss={undefined} />}
      <GridTable plan={plan} painted={painted} styles={styles} show={show} running={running} />
      <div className="sheet-foot">
        {running ? (
          <button type="button" className="quiet" data-testid="grid-cancel" onClick={grid.cancel}>
            {t("actions.cancel")}
          </button>
        ) : (
          <button type="button" className="quiet" data-testid="grid-new" onClick={grid.clear}>
            {t("grid.again")}
          </button>
        )}
        <button
          type="button"
          className="primary"
          data-testid="grid-save"
          disabled={running || painted.length === 0}
          onClick={() => void save()}
        >
          {t("grid.save")}
        </button>
      </div>
    </>
  );
}
