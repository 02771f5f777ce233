/** Who does what: everything on this device, words and pictures on a server, or all of it there. */

/**
 * `here`: everything on this device. `server`: a server reads the words and develops the picture, the
 * device denoises. `remote`: the server draws, for devices that cannot.
 */
export type Mode = "here" | "server" | "remote";

export interface ModeChoice {
  mode: Mode;
  why:
    | "asked" // whoever opened the bundle wanted it
    | "whole" // the bundle has all parts, and the device can run them
    | "alone" // there is no server to ask
    | "parts" // the bundle's text encoder or VAE has no graph for browsers
    | "faster" // large parts, which run on WebAssembly here: the server is faster
    | "memory" // the model does not fit this device
    | "no-provider"; // nothing on this device computes it correctly
}
