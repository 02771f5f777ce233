import { afterEach, expect, test, vi } from "vitest";
import { openManifest } from "../../src/engine/manifest";
import { mixedManifest } from "../manifest";

afterEach(() => vi.unstubAllGlobals());

const loaded = async (body: string, status = 200) => {
  vi.stubGlobal("fetch", async () => new Response(body, { status }));
  return (await openManifest("http://host/bundle/manifest.json")).manifest;
};

test("a manifest of this version is read, unknown keys and all", async () => {
  const manifest = { ...mixedManifest(), added_later: 1 };
  expect(await loaded(JSON.stringify(manifest))).toEqual(manifest);
});

test.each([
  [
    "another version",
    { ...mixedManifest(), schema_version: 2 },
    /version 2; this page reads version 1/,
  ],
  ["no version", {}, /of version unknown/],
  ["a missing part", { ...mixedManifest(), unet: undefined }, /unet is missing/],
  ["a wrong type", { ...mixedManifest(), samplers: {} }, /samplers is not of type array/],
  [
    "a path upwards",
    { ...mixedManifest(), slots: { url: "../slots.json", bytes: 1, sha256: "a".repeat(64) } },
    /slots.url has a form that is not allowed/,
  ],
  [
    "an unknown precision",
    { ...mixedManifest(), unet: [{ ...mixedManifest().unet[0], graphs: [{ compute: "fp8" }] }] },
    /unet\[0\].graphs\[0\]/,
  ],
])("%s is a problem that names the place", async (_, manifest, message) => {
  const manifestLoaded = loaded(JSON.stringify(manifest));
  await expect(manifestLoaded).rejects.toThrow(message);
  await expect(manifestLoaded).rejects.toMatchObject({ code: "manifest" });
});

test("a page instead of JSON, and no file at all", async () => {
  await expect(loaded("<html>")).rejects.toThrow(/it is not JSON/);
  await expect(loaded("", 404)).rejects.toMatchObject({ code: "manifest" });
});
