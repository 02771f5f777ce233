import { defineConfig } from "vite";
import { engineBuild } from "./onnxruntime.ts";

/** The pages of tests/browser/: the engine as the page has it, without a service worker. */
export default defineConfig({ ...engineBuild, base: "./", build: { target: "es2022" } });
