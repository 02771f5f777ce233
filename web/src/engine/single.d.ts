/** A second instance of the module, see runtimes.ts. */
declare module "onnxruntime-web/wasm?single" {
  export * from "onnxruntime-web";
}
