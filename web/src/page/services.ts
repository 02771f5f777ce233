/** Everything outside the page, in one place, so that tests can put others in. */

import { openManifest } from "../engine/manifest";
import { asProblem, EngineProblem } from "../engine/problems";
import type { Mode } from "../library/mode";
import type { Parts } from "../library/open";
import { createServer } from "../library/server";
import { createWorkerClient } from "../worker/client";
import type { LoadRequest, OpenedManifest } from "../worker/protocol";
import { hostedUrl } from "./hosting";

export interface Services extends Parts {
  /** Where the bundle's files lie; ends in `/`. */
  bundleUrl: string;
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

/** `?mode=here` asks for one way of sharing the work with the server. */
export function wantedMode(search: string): Mode | undefined {
  const mode = new URLSearchParams(search).get("mode");
  return (["here", "server", "remote"] as const).find((name) => name === mode);
}

/** Where the bundle comes from the server, a manifest that does not come is the server's silence. */
async function fetchManifest(
  url: string,
  fromServer: boolean,
  signal: AbortSignal,
): Promise<OpenedManifest> {
  try {
    return await openManifest(url, signal);
  } catch (thrown) {
    const problem = asProblem(thrown);
    if (!fromServer || problem.code !== "network") throw problem;
    throw new EngineProblem("server-down", problem.message, url);
  }
}

/** The bundle beside this page; the server too, unless the host names another. */
export function servicesHere(): Services {
  const bundleUrl = new URL("bundle/", document.baseURI).href;
  const manifestUrl = new URL("manifest.json", bundleUrl).href;
  const serverUrl = hostedUrl("server", "./");
  const fromServer = bundleUrl.startsWith(serverUrl);
  const provider = wantedProvider(location.search);
  return {
    server: createServer(serverUrl),
    bundleUrl,
    request: {
      manifestUrl,
      runtimeUrl: hostedUrl("runtime", "ort/"),
      ...(provider && { providers: [provider] }),
    },
    mode: wantedMode(location.search),
    openManifest: (signal) => fetchManifest(manifestUrl, fromServer, signal),
    connect: () => createWorkerClient(),
  };
}
