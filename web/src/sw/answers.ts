/**
 * What the service worker answers itself, by address. Files of bundles are not its business: the
 * engine keeps those by hash, and its manifest too.
 */

export type Kind =
  | "page" // the page itself: of this version, until its visitor accepts another
  | "build" // what the page's build named by content
  | "runtime" // onnxruntime-web in a folder named by content
  | "loose" // onnxruntime-web in a folder of a fixed name: the network's, if there is one
  | "picture"; // a style's pictures, named by content

/** The kind of file at `url`; undefined for what goes past the service worker. */
export function kindOf(url: URL, scope: URL): Kind | undefined {
  if (url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) return undefined;
  const path = url.pathname.slice(scope.pathname.length);
  if (path === "" || path === "index.html") return "page";
  if (/^(assets\/|favicon\.svg$)/.test(path)) return "build";
  if (/^ort-[0-9a-f]{16}\//.test(path)) return "runtime";
  if (path.startsWith("ort/")) return "loose";
  if (/^bundle\/.*-[0-9a-f]{16}\.(png|jpe?g|webp)$/.test(path)) return "picture";
  return undefined;
}

/** Whether the answer must carry isolation: pages and workers, unless somebody wants none. */
export function wantsIsolation(
  { mode, destination, url }: Pick<Request, "mode" | "destination" | "url">,
  allowed: boolean,
): boolean {
  if (!allowed) return false;
  if (mode === "navigate") return new URL(url).searchParams.get("isolate") !== "0";
  return destination === "worker" || destination === "sharedworker";
}

/**
 * The answer with Cross-Origin-Opener-Policy and -Embedder-Policy, which WebAssembly threads need and
 * some hosts cannot send.
 */
export function isolated(response: Response): Response {
  if (response.status === 0) return response; // a redirect, which the browser follows by itself
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

/** Whether two answers are known to be the same file: a validator is there, and equal. */
export function isSame(one: Response, other: Response): boolean {
  return ["ETag", "Last-Modified"].some((name) => {
    const value = one.headers.get(name);
    return value !== null && value === other.headers.get(name);
  });
}
