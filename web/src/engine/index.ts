/**
 * The package's front door: `open(bundleUrl)`. What it opens lives in `library/`, above the worker;
 * the other files of this folder run inside the worker.
 */

export * from "../library";
