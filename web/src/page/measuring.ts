/** How fast this device paints, and how exactly: what the "this device" panel measures. */

import { version } from "../../package.json";
import { ORT_VERSION } from "../engine/runtimes";
import type { Mode } from "../library/mode";
import { openWith, type Parts } from "../library/open";
import type { PaintEngine } from "../library/paintengine";
import type { ProviderReport } from "../worker/protocol";
import { firstSettings, styleChoices } from "./settings";

/** Of one provider. */
export interface Measured {
  provider: ProviderReport["provider"] | "server";
  compute?: ProviderReport["compute"];
  threads?: number;
  /** From PyTorch: the largest error over the largest value, and what is allowed. */
  parity?: { error: number; tolerance: number };
  /** Of one UNet step, the middle one of all but the first, which warms up. */
  stepMilliseconds?: number;
  /** Of a whole picture, words read and picture developed. */
  pictureMilliseconds: number;
  steps: number;
  width: number;
  height: number;
}

export interface DeviceReport {
  measured: Measured[];
  /** Providers that were not measured, and why. */
  refused: { provider: string; reason: string }[];
  model: string;
  baseHash: string;
  versions: { page: string; exporter: string; onnxruntime: string };
  browser: string;
  platform: string;
  gpu: string;
  cores: number;
  /** GiB, as coarse as browsers tell it; none where they do not. */
  memory?: number;
  isolated: boolean;
  /** ISO 8601, UTC. */
  date: string;
}

/** Steps of the measured picture: enough for a middle, soon over. */
const mostSteps = 12;

/** Paints one picture and takes the time. @throws EngineProblem as `PaintEngine.generate` */
export async function measure(
  engine: PaintEngine,
  onStep: (fraction: number) => void,
  signal: AbortSignal,
): Promise<Measured> {
  const { manifest } = engine;
  const settings = firstSettings(manifest);
  const steps = Math.min(settings.steps, mostSteps);
  const times: number[] = [];
  const begun = performance.now();
  const [picture] = await engine.generate({
    prompt: settings.prompt,
    sampler: settings.sampler,
    guidance: settings.guidance,
    seed: 1,
    steps,
    width: settings.width,
    height: settings.height,
    styles: styleChoices(settings, manifest.styles ?? []),
    signal,
    onStep({ step, milliseconds }) {
      times.push(milliseconds);
      onStep(step / steps);
    },
  });
  await picture?.toBlob();
  const pictureMilliseconds = performance.now() - begun;
  const provider = picture?.provider;
  const middle = median(times.slice(1));
  return {
    provider: provider?.provider ?? "server",
    ...(provider && {
      compute: provider.compute,
      threads: provider.threads,
      parity: { error: provider.error, tolerance: provider.tolerance },
    }),
    ...(middle !== undefined && { stepMilliseconds: middle }),
    ...{ pictureMilliseconds, steps, width: settings.width, height: settings.height },
  };
}

/** The same on another provider, on an engine of its own, which ends with it. */
export async function measureOn(
  provider: ProviderReport["provider"],
  parts: Parts,
  mode: Mode,
  onStep: (fraction: number) => void,
  signal: AbortSignal,
): Promise<Measured> {
  const request = { ...parts.request, providers: [{ provider }] };
  // In the mode of the page, as asked for: a server that steps in would be measured instead.
  const engine = await openWith({ ...parts, request, mode }, { signal });
  try {
    return await measure(engine, onStep, signal);
  } finally {
    engine.close();
  }
}

/** What there is to say of device and versions, around what was measured. */
export async function describeDevice(
  engine: PaintEngine,
  measured: Measured[],
  refused: DeviceReport["refused"],
): Promise<DeviceReport> {
  const { model, baseHash, exporter, isolated } = engine.report();
  const { deviceMemory } = navigator as { deviceMemory?: number };
  return {
    measured,
    refused,
    model,
    baseHash,
    versions: { page: version, exporter, onnxruntime: ORT_VERSION },
    browser: browserName(),
    platform: platformName(),
    gpu: await gpuName(),
    cores: navigator.hardwareConcurrency,
    ...(deviceMemory !== undefined && { memory: deviceMemory }),
    isolated,
    date: new Date().toISOString(),
  };
}

export function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  if (sorted.length % 2) return sorted[middle];
  const [low, high] = [sorted[middle - 1], sorted[middle]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}

interface UserAgentData {
  brands: { brand: string; version: string }[];
  platform: string;
}

const agentData = () => (navigator as { userAgentData?: UserAgentData }).userAgentData;

function browserName(): string {
  // One of the brands is there to be none, so that pages do not rely on it.
  const brands = agentData()?.brands.filter(({ brand }) => !/not.?a.?brand/i.test(brand));
  if (brands?.length) return brands.map(({ brand, version }) => `${brand} ${version}`).join(", ");
  return navigator.userAgent;
}

const platformName = () => agentData()?.platform || navigator.platform;

/** The WebGPU adapter, in its own words; an empty text where there is none. */
async function gpuName(): Promise<string> {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return "";
  const { vendor, architecture, device, description } = adapter.info;
  return [vendor, architecture, device, description].filter(Boolean).join(" ");
}
