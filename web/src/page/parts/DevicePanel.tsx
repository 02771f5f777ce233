import { useState } from "react";
import { useTranslation } from "react-i18next";
import { formatError, formatSeconds } from "../format";
import type { DeviceReport, Measured } from "../measuring";
import { saveFile } from "../savefile";
import type { Measuring } from "../useMeasuring";
import { ProblemNotice } from "./ProblemNotice";

/** How fast this device paints and how exactly, with a JSON to share. */
export function DevicePanel({ measuring, ready }: { measuring: Measuring; ready: boolean }) {
  const { t } = useTranslation();
  const [others, setOthers] = useState(false);
  const { report, running, problem, start, cancel } = measuring;
  const percent = Math.round((running?.fraction ?? 0) * 100);
  return (
    <div className="device" data-testid="device-panel">
      <p className="hint">{t("device.explain")}</p>
      <label className="check">
        <input
          type="checkbox"
          checked={others}
          onChange={({ target }) => setOthers(target.checked)}
        />
        {t("device.others")}
      </label>
      <div className="device-actions">
        {running ? (
          <button type="button" className="quiet" onClick={cancel}>
            {t("actions.cancel")}
          </button>
        ) : (
          <button
            type="button"
            className={report ? "quiet" : "primary"}
            data-testid="measure"
            disabled={!ready}
            onClick={() => start(others)}
          >
            {t(report ? "device.again" : "device.start")}
          </button>
        )}
        {running && (
          <div
            className="bar"
            role="progressbar"
            aria-label={t("device.measuring", { provider: nameOf(running.provider, t) })}
            aria-valuenow={percent}
          >
            <div className="bar-fill" style={{ width: `${percent}%` }} />
          </div>
        )}
      </div>
      {problem && <ProblemNotice problem={problem} retry={undefined} dismiss={undefined} />}
      {report && <Report report={report} />}
    </div>
  );
}

type Translate = ReturnType<typeof useTranslation>["t"];

const providers = ["webgpu", "jsep", "webnn", "wasm"] as const;

function nameOf(provider: string, t: Translate): string {
  const known = providers.find((name) => name === provider);
  return known ? t(`provider.${known}`) : t("device.server");
}

function Report({ report }: { report: DeviceReport }) {
  const { t, i18n } = useTranslation();
  const [copied, setCopied] = useState(false);
  const text = `${JSON.stringify(report, null, 2)}\n`;
  const file = new File([text], "brushlet-device.json", { type: "application/json" });
  const canShare = navigator.canShare?.({ files: [file] }) === true;
  const facts: [string, string][] = [
    [t("device.browser"), report.browser],
    [t("device.gpu"), report.gpu || t("device.noGpu")],
    [t("device.cores"), String(report.cores)],
    [t("device.isolated"), t(report.isolated ? "device.yes" : "device.no")],
    [
      t("device.versions"),
      `brushlet ${report.versions.page}, onnxruntime-web ${report.versions.onnxruntime}`,
    ],
    [t("device.model"), `${report.model} (${report.baseHash.slice(0, 8)})`],
  ];
  const seconds = (ms: number) => formatSeconds(ms / 1000, i18n.language, true);
  const way = ({ provider, compute, threads }: Measured) =>
    [
      nameOf(provider, t),
      compute,
      provider === "wasm" && threads && t("provider.threads", { count: threads }),
    ]
      .filter(Boolean)
      .join(" · ");
  return (
    <div className="device-report" data-testid="device-report">
      <ul className="device-figures">
        {report.measured.map((measured) => (
          <li key={measured.provider}>
            <span className="hint">{way(measured)}</span>
            {measured.stepMilliseconds !== undefined && (
              <b data-testid="ms-per-step">
                {t("device.perStep", { ms: Math.round(measured.stepMilliseconds) })}
              </b>
            )}
            <span>
              {t("device.picture", {
                time: seconds(measured.pictureMilliseconds),
                count: measured.steps,
                size: `${measured.width} × ${measured.height}`,
              })}
            </span>
            {measured.parity && (
              <span>{t("provider.distance", { error: formatError(measured.parity.error) })}</span>
            )}
          </li>
        ))}
        {report.refused.map(({ provider, reason }) => (
          <li key={provider}>
            <span className="hint">{nameOf(provider, t)}</span>
            <span className="device-reason">{reason}</span>
          </li>
        ))}
      </ul>
      <dl className="device-facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <div className="sheet-foot">
        <span className="hint" role="status">
          {copied ? t("device.copied") : ""}
        </span>
        <button
          type="button"
          className="quiet"
          data-testid="copy-report"
          onClick={async () => {
            await navigator.clipboard.writeText(text);
            setCopied(true);
          }}
        >
          {t("device.copy")}
        </button>
        {canShare && (
          <button
            type="button"
            className="quiet"
            onClick={() => void navigator.share({ files: [file] }).catch(() => {})} // not now
          >
            {t("device.share")}
          </button>
        )}
        <button
          type="button"
          className="quiet"
          data-testid="save-report"
          onClick={() => saveFile(file, file.name)}
        >
          {t("device.download")}
        </button>
      </div>
    </div>
  );
}
