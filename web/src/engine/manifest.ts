/** Opens a bundle: its manifest, and the JSON files that the manifest points to. */

import type { BundleFiles, FileRef, Manifest, Style, UNetVariant } from "../bundle/manifest.gen";
import { faultIn } from "../bundle/validate";
import type { OpenedManifest } from "../worker/protocol";
import type { Files, Work } from "./downloads";
import { fetchText } from "./fetching";
import { EngineProblem } from "./problems";
import { filledStores } from "./stores";

const VERSION = 1;

/**
 * @param url of manifest.json
 * @throws EngineProblem `manifest` when there is none or it is not of this version and shape;
 *   `network` when the server cannot be reached, and no earlier visit stored it
 */
export async function openManifest(url: string, signal?: AbortSignal): Promise<OpenedManifest> {
  try {
    return { manifest: await fetchManifest(url, signal), offline: false };
  } catch (thrown) {
    const unreachable = thrown instanceof EngineProblem && thrown.code === "network";
    const manifest = unreachable ? await storedManifest(url) : undefined;
    if (!manifest) throw thrown;
    return { manifest, offline: true };
  }
}

async function storedManifest(url: string): Promise<Manifest | undefined> {
  for (const store of await filledStores()) {
    const record = (await store.records()).find(({ manifestUrl }) => manifestUrl === url);
    // Another version of the page may have stored it.
    if (record && !faultIn(record.manifest, "Manifest")) return record.manifest;
  }
  return undefined;
}

async function fetchManifest(url: string, signal: AbortSignal | undefined): Promise<Manifest> {
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
type JsonFiles = Omit<BundleFiles, "Manifest">;

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

/** A JSON file that other people define. @throws EngineProblem as `fetchFile`; `damaged` for no object */
export async function loadObject(files: Files, file: FileRef, work: Work): Promise<object> {
  const text = new TextDecoder().decode(await files.get(file, "manifest", work));
  files.drop(file);
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // told below
  }
  const message = `${file.url} cannot be read: it is no JSON object. Export the bundle again.`;
  throw new EngineProblem("damaged", message, file.url);
}

/** The denoiser without a merged style; in a bundle that has only merged ones, the first. */
export function baseVariant({ unet }: Manifest): UNetVariant {
  const variant = unet.find(({ name }) => name === "base") ?? unet[0];
  if (variant) return variant;
  throw new EngineProblem("manifest", "The bundle has no UNet. Export it again.", "unet");
}

/** Whether a style changes the denoiser, or what words mean. */
export function changes({ models = ["unet"] }: Style, model: "unet" | "text_encoder"): boolean {
  return models.includes(model);
}

/** @throws EngineProblem `request` when the bundle has no such style */
export function styleNamed({ styles = [] }: Manifest, name: string): Style {
  const style = styles.find((style) => style.name === name);
  if (style) return style;
  const names = styles.map((style) => style.name).join(", ") || "none";
  throw new EngineProblem("request", `There is no style ${name}; the bundle has ${names}.`, name);
}
