/** Opens a bundle: decides who does what, loads what this device needs, and is ready to paint. */

import type { Manifest } from "../bundle/manifest.gen";
import { openManifest } from "../engine/manifest";
import { asProblem, EngineProblem } from "../engine/problems";
import { probeDevice } from "../engine/providers";
import { createWorkerClient, type WorkerClient } from "../worker/client";
import type { LoadProgress, LoadRequest, LoadResult, OpenedManifest } from "../worker/protocol";
import { chooseMode, deviceMemory, partsRunHere } from "./choosemode";
import { codecBeside, codecHere, noWorker, resultOf } from "./here";
import type { Mode, ModeChoice } from "./mode";
import { PaintEngine, withStyles } from "./paintengine";
import { createServer, type Server } from "./server";

export interface OpenHooks {
  /** What is fetched, in bytes. */
  onProgress?: (progress: LoadProgress) => void;
  /** The manifest, as soon as it is there: controls need no more. */
  onManifest?: (manifest: Manifest) => void;
  /** A server that is not ready yet, in its words. */
  onWait?: (words: string) => void;
  /** Aborting ends the opening, and frees what it holds. */
  signal?: AbortSignal;
}

export interface OpenOptions extends OpenHooks {
  /** Folder of onnxruntime-web's .mjs and .wasm files; without it `ort/` beside this module. */
  runtimeUrl?: string | URL;
  /**
   * Root of a brushlet server, or false for none. Without it the folder above the bundle's, which is
   * the server's root where one serves the bundle.
   */
  server?: string | URL | false;
  /** Who does what; `auto`, as without it, chooses by device and says why in `report()`. */
  mode?: Mode | "auto";
  /** Execution providers to try, in order. */
  providers?: LoadRequest["providers"];
}

/** What an engine is made of. */
export interface Parts {
  server: Server | undefined;
  request: LoadRequest;
  /** What was asked for; undefined: chosen by device. */
  mode?: Mode | undefined;
  openManifest(signal: AbortSignal): Promise<OpenedManifest>;
  connect(): WorkerClient;
}

/**
 * Opens the bundle in a folder.
 *
 * @param bundleUrl the folder with manifest.json; relative to the page
 * @throws EngineProblem `manifest`, `network`, `damaged`, `no-provider`, those of a server (see
 *   `Server.ready`), `cancelled`
 */
export function open(bundleUrl: string | URL, options: OpenOptions = {}): Promise<PaintEngine> {
  const { runtimeUrl, server, mode, providers, ...hooks } = options;
  const page = globalThis.document?.baseURI ?? location.href;
  const folder = new URL(bundleUrl, page);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  const manifestUrl = new URL("manifest.json", folder).href;
  const root = server === false ? undefined : new URL(server ?? new URL("..", folder), folder);
  const parts: Parts = {
    server: root && createServer(root.href.endsWith("/") ? root.href : `${root.href}/`),
    request: {
      manifestUrl,
      runtimeUrl: runtimeUrl ? new URL(runtimeUrl, page).href : ownRuntime(),
      ...(providers && { providers }),
    },
    mode: mode === "auto" ? undefined : mode,
    openManifest: (signal) => openManifest(manifestUrl, signal),
    connect: () => createWorkerClient(),
  };
  return openWith(parts, hooks);
}

/** `ort/` beside the built package. */
function ownRuntime(): string {
  const here = import.meta.url; // apart, or Vite takes the address for that of an asset
  return new URL("./ort/", here).href;
}

/** Opens with parts of the caller's own. @throws EngineProblem as `open` */
export async function openWith(parts: Parts, hooks: OpenHooks = {}): Promise<PaintEngine> {
  let worker: WorkerClient | undefined;
  try {
    const { signal = new AbortController().signal, onManifest } = hooks;
    // It starts while the manifest is on its way; most devices need it.
    if (parts.mode !== "remote") worker = warmed(parts);
    const opened = await parts.openManifest(signal);
    onManifest?.(opened.manifest);
    const choice = await modeFor(opened.manifest, parts);
    return await openAs(choice, opened, { ...parts, worker }, { ...hooks, signal });
  } catch (thrown) {
    worker?.terminate();
    throw asProblem(thrown);
  }
}

function warmed({ connect, request: { runtimeUrl, providers } }: Parts): WorkerClient {
  const worker = connect();
  void worker.call("warm-up", { runtimeUrl, ...(providers && { providers }) });
  return worker;
}

async function modeFor(manifest: Manifest, { server, mode }: Parts): Promise<ModeChoice> {
  if (mode && mode !== "here" && !server) {
    const message = `The mode ${mode} needs a server: name one, or open without a mode.`;
    throw new EngineProblem("request", message, "mode");
  }
  if (mode) return { mode, why: "asked" };
  const around = { device: await probeDevice(), memory: deviceMemory(), server: !!server };
  return chooseMode(manifest, around);
}

type Ready = OpenHooks & { signal: AbortSignal };
/** `worker`: started ahead; none where the server is asked to draw. */
type Running = Parts & { worker: WorkerClient | undefined };

/**
 * Waits for the server. Where nobody has asked for one and none is there, this device does it all.
 *
 * @throws EngineProblem those of a server
 */
async function withServer(
  choice: ModeChoice,
  manifest: Manifest,
  { server, worker }: Running,
  { signal, onWait }: Ready,
): Promise<ModeChoice> {
  try {
    await server?.ready(signal, (words) => onWait?.(words));
    return choice;
  } catch (thrown) {
    const absent = ["no-server", "server-down"].includes(asProblem(thrown).code);
    const can = choice.mode === "server" && worker && partsRunHere(manifest);
    if (choice.why === "asked" || !absent || !can) throw thrown;
    return { mode: "here", why: "alone" };
  }
}

async function openAs(
  wanted: ModeChoice,
  opened: OpenedManifest,
  parts: Running,
  hooks: Ready,
): Promise<PaintEngine> {
  const { server, request, worker } = parts;
  const { manifest } = opened;
  const choice = wanted.mode === "here" ? wanted : await withServer(wanted, manifest, parts, hooks);
  if (choice.mode === "remote" || !worker) {
    worker?.terminate();
    return new PaintEngine({ choice, manifest, server, worker: noWorker() });
  }
  const loaded = await load(worker, { ...request, opened }, hooks);
  if ("report" in loaded) {
    const beside = choice.mode === "server" ? server : undefined;
    const codec = beside ? codecBeside(beside, worker) : codecHere(worker);
    const own = resultOf(await worker.call("local-styles", null));
    const whole = withStyles(manifest, own);
    if (own.length) hooks.onManifest?.(whole);
    return new PaintEngine({ choice, manifest: whole, server, worker, codec, ...loaded });
  }
  worker.terminate();
  const { problem } = loaded;
  if (problem.code !== "no-provider" || choice.why === "asked" || !server) throw problem;
  // Nothing here computes it: where a server can be asked, it draws, and the report says so.
  const remote = { mode: "remote", why: "no-provider" } as const;
  await withServer(remote, manifest, parts, hooks);
  return new PaintEngine({
    choice: remote,
    manifest,
    server,
    worker: noWorker(),
    refused: problem,
  });
}

async function load(
  worker: WorkerClient,
  request: LoadRequest,
  { signal, onProgress }: Ready,
): Promise<LoadResult | { problem: EngineProblem }> {
  const stop = () => worker.terminate(); // ends what is under way as cancelled
  signal.addEventListener("abort", stop);
  const outcome = await worker.load(request, { signal, ...(onProgress && { onProgress }) });
  signal.removeEventListener("abort", stop);
  if (outcome.ok) return outcome.value;
  const { code, message, where } = outcome.problem;
  return { problem: new EngineProblem(code, message, where) };
}
