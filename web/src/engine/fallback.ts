/** What is left to try when a provider that has passed its golden vector fails at work. */

import type { Notice, ProviderReport } from "../worker/protocol";
import { type FailureKind, failureIn, type ProviderFailure } from "./failures";
import type { Candidate, Refusal } from "./providers";
import type { OpenVariant } from "./variants";

interface Failed {
  candidate: Candidate;
  failure: ProviderFailure;
}

/** The failures since the bundle was opened. */
export class Failures {
  private failed: Failed[] = [];

  note(candidate: Candidate, failure: ProviderFailure): void {
    this.failed.push({ candidate, failure });
  }

  /** Whether no failure speaks against this one. */
  allows(other: Candidate): boolean {
    return this.against(other) === undefined;
  }

  /** Those that may still be tried; and of each failure, for the report, what it was. */
  divide(candidates: readonly Candidate[]): { allowed: Candidate[]; refused: Refusal[] } {
    return {
      allowed: candidates.filter((one) => this.allows(one)),
      refused: this.failed.map(({ candidate, failure }) => {
        const { provider, graph } = candidate;
        return { provider, compute: graph.compute, reason: reasonOf(failure) };
      }),
    };
  }

  /**
   * Forgets NaN and infinity: when every provider gave them, they came from the request (strengths
   * far outside what was trained), and the next request has its choice again.
   */
  forgiveNumbers(): void {
    this.failed = this.failed.filter(({ failure }) => failure.kind !== "numbers");
  }

  private against(other: Candidate): Failed | undefined {
    return this.failed.find(({ candidate, failure }) => rulesOut[failure.kind](candidate, other));
  }
}

/** What a failure says about other candidates. */
const rulesOut: Record<FailureKind, (failed: Candidate, other: Candidate) => boolean> = {
  // A build of onnxruntime-web has one device; another build asks for one of its own.
  lost: (failed, other) => failed.provider === other.provider,
  // Other graphs need no less. A WASM instance that has run out of memory stays broken.
  memory: (failed, other) => failed.provider === other.provider && failed.threads === other.threads,
  // 16 bits end at 65504, whoever computes.
  numbers: (failed, other) =>
    failed.graph.compute === "fp16"
      ? other.graph.compute === "fp16"
      : failed.provider === other.provider && failed.graph.compute === other.graph.compute,
  failed: (failed, other) =>
    failed.provider === other.provider &&
    failed.threads === other.threads &&
    failed.graph.compute === other.graph.compute &&
    failed.graph.attention === other.graph.attention,
};

/** Where a variant runs, and how it is moved elsewhere. */
export interface Providers {
  failures: Failures;
  /** The variant on the best candidate that no failure rules out. */
  open(): Promise<OpenVariant>;
  /** Lets go of those that `which` names; of all without it. */
  release(which?: (opened: OpenVariant) => boolean): Promise<void>;
}

/**
 * Runs a variant; where its provider fails at it, `run` begins again on the next one.
 *
 * @throws EngineProblem `numbers` when every arithmetic gives NaN; `no-provider` when none is left;
 *   and what `run` throws that is no provider's failure
 */
export async function onSomeProvider<T>(
  { failures, open, release }: Providers,
  onNotice: ((notice: Notice) => void) | undefined,
  run: (opened: OpenVariant) => Promise<T>,
): Promise<T> {
  let last: { report: ProviderReport; failure: ProviderFailure } | undefined;
  for (;;) {
    const opened = await open();
    if (last) onNotice?.(noticeOf(last.failure, last.report, opened.report));
    try {
      return await run(opened);
    } catch (thrown) {
      const failure = failureIn(thrown);
      if (!failure) throw thrown;
      if (failure.kind === "numbers" && isReference(opened.candidate)) {
        if (last) {
          failures.forgiveNumbers();
          await release();
        }
        throw thrown;
      }
      failures.note(opened.candidate, failure);
      await release(({ candidate }) => !failures.allows(candidate));
      last = { report: opened.report, failure };
    }
  }
}

/** Whether NaN here is the request's own: on WASM in fp32, the arithmetic that all are held against. */
function isReference({ provider, graph }: Candidate): boolean {
  return provider === "wasm" && graph.compute === "fp32";
}

function noticeOf(
  { kind, message }: ProviderFailure,
  from: ProviderReport,
  to: ProviderReport,
): Notice {
  const way = ({ provider, compute, threads }: ProviderReport) => ({ provider, compute, threads });
  return { kind, from: way(from), to: way(to), reason: message };
}

const words: Record<FailureKind, string> = {
  lost: "the GPU was lost",
  memory: "memory ran out",
  numbers: "a step gave NaN or infinity",
  failed: "it failed",
};

function reasonOf({ kind, message }: ProviderFailure): string {
  return kind === "numbers" ? words.numbers : `${words[kind]} while painting: ${message}`;
}
