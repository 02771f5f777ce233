/** Everything outside the page, in one place, so that tests can put others in. */

import type { Manifest } from "../bundle/manifest.gen";
import { createWorkerClient, type WorkerClient } from "../worker/client";
import type { LoadRequest } from "../worker/protocol";
import { Trouble } from "./problem";
import { createServer, type Server } from "./server";

export interface Services {
  server: Server;
  /** Where the bundle's files lie; ends in `/`. */
  bundleUrl: string;
  request: LoadRequest;
  loadManifest(signal: AbortSignal): Promise<Manifest>;
  connect(): WorkerClient;
}

type Candidate = NonNullable<LoadRequest["providers"]>[number];
const providers = ["webgpu", "jsep", "wasm"] as const;

/** `?provider=wasm&compute=fp32&threads=1` asks for one execution provider alone. */
export function wantedProvider(search: string): Candidate | undefined {
  const query = new URLSearchParams(search);
  const provider = providers.find((name) => name === query.get("provider"));
  if (!provider) return undefined;
  const compute = (["fp16", "fp32"] as const).find((name) => name === query.get("compute"));
  const threads = Number(query.get("threads"));
  return { provider, ...(compute && { compute }), ...(threads > 0 && { threads }) };
}

async function fetchManifest(url: string, signal: AbortSignal): Promise<Manifest> {
  const wrong = (message: string) => new Trouble({ code: "manifest", message, where: url });
  let response: Response;
  try {
    response = await fetch(url, { signal, cache: "no-cache" });
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    throw new Trouble({ code: "server-down", message: "", where: url });
  }
  if (!response.ok) throw wrong(`${response.status} ${response.statusText}`.trim());
  const manifest = (await response.json().catch(() => undefined)) as Manifest | undefined;
  if (!manifest) throw wrong("The file is not JSON.");
  if (manifest.schema_version !== 1) {
    throw wrong(`This page reads version 1, the file says ${manifest.schema_version}.`);
  }
  return manifest;
}

/** The bundle and the server beside this page. */
export function servicesHere(): Services {
  const bundleUrl = new URL("bundle/", document.baseURI).href;
  const manifestUrl = new URL("manifest.json", bundleUrl).href;
  const provider = wantedProvider(location.search);
  return {
    server: createServer(document.baseURI),
    bundleUrl,
    request: {
      manifestUrl,
      runtimeUrl: new URL("ort/", document.baseURI).href,
      ...(provider && { providers: [provider] }),
    },
    loadManifest: (signal) => fetchManifest(manifestUrl, signal),
    connect: () => createWorkerClient(),
  };
}
