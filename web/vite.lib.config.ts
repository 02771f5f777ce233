import { defineConfig } from "vite";
import { engineBuild, serveRuntime } from "./build/onnxruntime.ts";

/** The engine as a package: `lib/index.js`, the worker under `lib/assets/`, onnxruntime-web under `lib/ort/`. */
export default defineConfig({
  ...engineBuild,
  // Relative to the module, so that the folder works wherever it is put.
  base: "./",
  publicDir: false,
  plugins: [serveRuntime()],
  build: {
    target: "es2022",
    outDir: "lib",
    lib: { entry: "src/engine/index.ts", formats: ["es"], fileName: "index" },
  },
});
