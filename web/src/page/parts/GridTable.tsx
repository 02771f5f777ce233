import { useTranslation } from "react-i18next";
import type { Style } from "../../bundle/manifest.gen";
import { type Axis, type GridPlan, valueName } from "../grid";
import type { PaintedCell } from "../useGrid";

/** A grid's pictures with the values of their axes at their heads; a click opens one. */
export function GridTable({
  plan,
  painted,
  styles,
  show,
  running,
}: {
  plan: GridPlan;
  painted: readonly PaintedCell[];
  styles: readonly Style[];
  show: (cell: PaintedCell) => void;
  running: boolean;
}) {
  const { t } = useTranslation();
  const { x, y } = plan;
  const title = (axis: Axis) => t(`grid.kinds.${axis.kind}`);
  const name = (axis: Axis, index: number) => valueName(axis, index, styles);
  const rows = y ? y.values.map((_, row) => row) : [0];
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section className="grid-scroll" tabIndex={0} aria-label={t("grid.title")}>
      <table className="grid-table">
        <caption className="unseen">{t("grid.title")}</caption>
        <thead>
          <tr>
            {y && <td className="grid-corner">{`${title(y)} ↓`}</td>}
            {x.values.map((value, column) => (
              <th key={value} scope="col">
                <span className="unseen">{title(x)} </span>
                {name(x, column)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={y?.values[row] ?? "only"}>
              {y && (
                <th scope="row">
                  <span className="unseen">{title(y)} </span>
                  {name(y, row)}
                </th>
              )}
              {x.values.map((value, column) => {
                const index = row * x.values.length + column;
                const cell = painted.find((one) => one.row === row && one.column === column);
                const where = [
                  `${title(x)} ${name(x, column)}`,
                  y && `${title(y)} ${name(y, row)}`,
                ];
                return (
                  <td key={value}>
                    {cell ? (
                      <button
                        type="button"
                        className="grid-cell"
                        data-testid="grid-cell"
                        aria-label={t("grid.show", { where: where.filter(Boolean).join(", ") })}
                        onClick={() => show(cell)}
                      >
                        <img src={cell.url} alt="" />
                      </button>
                    ) : (
                      <span
                        className="grid-cell"
                        data-next={(running && index === painted.length) || undefined}
                      />
                    )}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
