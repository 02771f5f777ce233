/** The engine for code on any page: it starts the worker, and needs no framework. */

export type { Manifest, Style } from "../bundle/manifest.gen";
export { EngineProblem } from "../engine/problems";
export type {
  LoadProgress,
  ProviderReport,
  StepReport,
  WirePicture,
  WireTensor,
} from "../worker/protocol";
export type { Mode, ModeChoice } from "./mode";
export { type OpenHooks, type OpenOptions, open } from "./open";
export type { EngineReport, GenerateRequest, PaintEngine, PictureStep } from "./paintengine";
export type { Phase } from "./painting";
export type { Picture } from "./picture";
export type { PictureSource } from "./pixels";
export type { PictureWish, StyleWish } from "./spec";
