/** What the host of the page decides: `<meta>` elements that `make dist` fills in. */

type Setting = "server" | "runtime" | "isolate";

/** The content of `<meta name="brushlet-…">`; empty where nobody has filled it in. */
export function hosted(setting: Setting): string {
  const element = document.querySelector<HTMLMetaElement>(`meta[name="brushlet-${setting}"]`);
  return element?.content ?? "";
}

/** An address of the host's, or `beside` the page; ends in `/`. */
export function hostedUrl(setting: Setting, beside: string): string {
  return new URL(hosted(setting) || beside, document.baseURI).href;
}
