/** Opens a bundle: its manifest, and the JSON files that the manifest points to. */

import type {
  FileRef,
  Manifest,
  SamplerTables,
  SlotTable,
  Style,
  UNetVariant,
} from "../bundle/manifest.gen";
import { faultIn } from "../bundle/validate";
import type { Files, Work } from "./downloads";
import { fetchText } from "./fetching";
import { EngineProblem } from "./problems";

const VERSION = 1;

/**
 * @param url of manifest.json
 * @throws EngineProblem `manifest` when there is none or it is not of this version and shape;
 *   `network` when the server cannot be reached
 */
export async function loadManifest(url: string, signal?: AbortSignal): Promise<Manifest> {
  const refuse = (what: string) => new EngineProblem("manifest", what, "manifest.json");
  let manifest: unknown;
  try {
    manifest = JSON.parse(await fetchText(url, "manifest.json", "manifest", signal));
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    throw refuse(`${url} is not a bundle's manifest: it is not JSON. Check the bundle's address.`);
  }
  const version = (manifest as { schema_version?: unknown } | null)?.schema_version;
  if (version !== VERSION) {
    throw refuse(
      `The bundle is of version ${version ?? "unknown"}; this page reads version ${VERSION}. ` +
        "Reload the page, or export the bundle again.",
    );
  }
  const fault = faultIn(manifest, "Manifest");
  if (fault) throw refuse(`manifest.json cannot be read: ${fault}. Export the bundle again.`);
  return manifest as Manifest;
}

/** A JSON file of the bundle, by the name that the schema gives its content. */
interface JsonFiles {
  SlotTable: SlotTable;
  SamplerTables: SamplerTables;
}

/** @throws EngineProblem as `fetchFile`; `damaged` when it is not of the schema's shape */
export async function loadJson<Name extends keyof JsonFiles>(
  files: Files,
  file: FileRef,
  definition: Name,
  work: Work,
): Promise<JsonFiles[Name]> {
  const text = new TextDecoder().decode(await files.get(file, "manifest", work));
  files.drop(file);
  let value: unknown;
  let fault: string | undefined;
  try {
    value = JSON.parse(text);
    fault = faultIn(value, definition);
  } catch {
    fault = "it is not JSON";
  }
  if (fault === undefined) return value as JsonFiles[Name];
  const message = `${file.url} cannot be read: ${fault}. Export the bundle again.`;
  throw new EngineProblem("damaged", message, file.url);
}

/** The denoiser without a merged style; in a bundle that has only merged ones, the first. */
export function baseVariant({ unet }: Manifest): UNetVariant {
  const variant = unet.find(({ name }) => name === "base") ?? unet[0];
  if (variant) return variant;
  throw new EngineProblem("manifest", "The bundle has no UNet. Export it again.", "unet");
}

/** @throws EngineProblem `request` when the bundle has no such style */
export function styleNamed({ styles = [] }: Manifest, name: string): Style {
  const style = styles.find((style) => style.name === name);
  if (style) return style;
  const names = styles.map((style) => style.name).join(", ") || "none";
  throw new EngineProblem("request", `There is no style ${name}; the bundle has ${names}.`, name);
}
