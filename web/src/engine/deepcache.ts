/**
 * Inner layers of the denoiser computed on some model calls only (DeepCache, arXiv:2312.00858; the same
 * rule as runtime/deepcache.py). Between neighbouring steps they give nearly the same.
 */

/**
 * What a model call does with deep features. `kept`: it is whole, and later ones may reuse its own.
 * `reused`: it computes the outermost layers alone. `unused`: it is whole, and nothing is kept.
 */
export type DeepUse = "unused" | "kept" | "reused";

export class DeepCache {
  private owner: object | undefined;
  private age = 0;

  /** @param interval every how many calls one is whole; 1: all are */
  constructor(private readonly interval: number) {}

  /** Of the next call. @param owner what it is prepared with: features of another one are no use */
  next(owner: object): DeepUse {
    if (this.interval === 1) return "unused";
    this.age += 1;
    if (owner === this.owner && this.age < this.interval) return "reused";
    this.owner = owner;
    this.age = 0;
    return "kept";
  }
}
