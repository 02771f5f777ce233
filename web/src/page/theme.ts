/** Dark or light: as the system has it, until somebody chooses otherwise. */

export type Theme = "light" | "dark";

const memory = "brushlet.theme";
/** `--paper` of tokens.css, for the browser's own edges. */
const paper: Record<Theme, string> = { light: "#f4f4ef", dark: "#12171b" };

const system = (): Theme => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

function recall(): Theme | undefined {
  try {
    const remembered = localStorage.getItem(memory);
    return remembered === "light" || remembered === "dark" ? remembered : undefined;
  } catch {
    return undefined; // storage is off: the system decides
  }
}

let chosen: Theme | undefined;

/** What is shown now. */
export const themeNow = (): Theme => chosen ?? system();

/** Shows what was chosen on an earlier visit; call before the first render. */
export function startTheme(): void {
  chosen = recall();
  show();
}

/**
 * Turns light to dark and back, and remembers it where the browser allows. What the system wants
 * anyway is not remembered, so that the page follows it again.
 */
export function switchTheme(): Theme {
  const next: Theme = themeNow() === "dark" ? "light" : "dark";
  chosen = next === system() ? undefined : next;
  try {
    if (chosen) localStorage.setItem(memory, chosen);
    else localStorage.removeItem(memory);
  } catch {
    // storage is off: the choice holds until the page is closed
  }
  show();
  return next;
}

/** Calls `changed` when the system turns from light to dark; returns what ends that. */
export function watchSystem(changed: () => void): () => void {
  const query = matchMedia("(prefers-color-scheme: dark)");
  query.addEventListener("change", changed);
  return () => query.removeEventListener("change", changed);
}

function show(): void {
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  for (const meta of document.querySelectorAll<HTMLMetaElement>("meta[name=theme-color]")) {
    const own: Theme = meta.media.includes("dark") ? "dark" : "light";
    meta.content = paper[chosen ?? own];
  }
}
