import { describe, expect, test } from "vitest";
import { asFailure, type FailureKind, ProviderFailure } from "../../src/engine/failures";
import { Failures, onSomeProvider } from "../../src/engine/fallback";
import { EngineProblem } from "../../src/engine/problems";
import { type Candidate, listCandidates } from "../../src/engine/providers";
import type { OpenVariant } from "../../src/engine/variants";
import type { Notice } from "../../src/worker/protocol";
import { mixedManifest } from "../manifest";

const variant = mixedManifest().unet[0] as OpenVariant["variant"];
const device = {
  webgpu: { shaderF16: true, software: false },
  webnn: false,
  isolated: true,
  cores: 2,
  identity: "test",
};
const { candidates } = listCandidates(variant, device);
const wayOf = ({ provider, threads, graph: { compute, attention } }: Candidate) =>
  [provider, compute, attention, threads].join(" ");

/** An engine with all candidates: the ways that were run, and those that are open. */
function providers() {
  const failures = new Failures();
  const ran: string[] = [];
  let open: OpenVariant | undefined;
  return {
    ran,
    failures,
    get open() {
      return open && wayOf(open.candidate);
    },
    /** @param work what running on a way ends with */
    run(work: (way: string) => void, notices: Notice[] = []) {
      const tools = {
        failures,
        async open() {
          const [candidate] = failures.divide(candidates).allowed;
          if (!candidate) throw new EngineProblem("no-provider", "none is left");
          const { provider, threads, graph } = candidate;
          const report = { provider, threads, compute: graph.compute };
          open ??= { variant, candidate, report } as OpenVariant;
          return open;
        },
        async release(which: (opened: OpenVariant) => boolean = () => true) {
          if (open && which(open)) open = undefined;
        },
      };
      return onSomeProvider(
        tools,
        (notice) => notices.push(notice),
        async (opened) => {
          ran.push(wayOf(opened.candidate));
          work(wayOf(opened.candidate));
          return wayOf(opened.candidate);
        },
      );
    },
  };
}

const nan = () => {
  throw new EngineProblem("numbers", "NaN in step 3");
};
const failing = (kind: FailureKind, ways: RegExp) => (way: string) => {
  if (ways.test(way)) throw new ProviderFailure(kind, "gone");
};

describe("where a failed provider's picture goes on", () => {
  test.each<[FailureKind, RegExp, string]>([
    ["lost", /^webgpu/, "jsep fp16 fused 1"],
    ["lost", /^(webgpu|jsep)/, "wasm fp32 fused 2"],
    ["memory", /^(webgpu|jsep)/, "wasm fp32 fused 2"],
    ["memory", /^(webgpu|jsep)|2$/, "wasm fp32 fused 1"],
    ["failed", /fused/, "webgpu fp16 plain 1"],
    ["numbers", /fp16/, "webgpu fp32 fused 1"],
    ["numbers", /^(webgpu|jsep)/, "wasm fp32 fused 2"],
  ])("%s on %s: %s", async (kind, ways, expected) => {
    const some = providers();
    expect(await some.run(failing(kind, ways))).toBe(expected);
    expect(some.open).toBe(expected);
    expect(some.ran.length).toBeLessThanOrEqual(4);
  });

  test("every move is told, with who failed, why, and who goes on", async () => {
    const notices: Notice[] = [];
    await providers().run(failing("lost", /^webgpu/), notices);
    const [from, to] = ["webgpu", "jsep"].map((provider) => ({
      provider,
      threads: 1,
      compute: "fp16",
    }));
    expect(notices).toEqual([{ kind: "lost", from, to, reason: "gone" }]);
  });

  test("the next picture does not go back to who failed", async () => {
    const some = providers();
    await some.run(failing("lost", /^webgpu/));
    expect(await some.run(() => {})).toBe("jsep fp16 fused 1");
  });
});

describe("what no provider can do", () => {
  test("NaN everywhere is the request's, and the next one has its choice again", async () => {
    const some = providers();
    await expect(some.run(nan)).rejects.toMatchObject({ code: "numbers" });
    // 16 bits, each GPU provider's 32, and the arithmetic that all are held against.
    expect(some.ran).toEqual([
      "webgpu fp16 fused 1",
      "webgpu fp32 fused 1",
      "jsep fp32 fused 1",
      "wasm fp32 fused 2",
    ]);
    expect(await some.run(() => {})).toBe("webgpu fp16 fused 1");
  });

  test("memory for none ends with no provider", async () => {
    const run = providers().run(failing("memory", /./));
    await expect(run).rejects.toMatchObject({ code: "no-provider" });
  });

  test("a request's own problem moves nothing", async () => {
    const some = providers();
    const wrong = some.run(() => {
      throw new EngineProblem("request", "no such style");
    });
    await expect(wrong).rejects.toMatchObject({ code: "request" });
    expect(some.ran).toHaveLength(1);
    expect(some.open).toBe("webgpu fp16 fused 1");
  });
});

test.each([
  [new RangeError("Array buffer allocation failed"), "memory"],
  [new RangeError("Maximum call stack size exceeded"), "failed"],
  ["Aborted(OOM). Build with -sASSERTIONS for more info.", "memory"],
  [new Error("failed to call OrtRun(). ERROR_CODE: 6, std::bad_alloc"), "memory"],
  [new Error("Kernel not implemented"), "failed"],
  [5263360, "failed"],
])("%s is told as %s", (thrown, kind) => {
  expect(asFailure(thrown).kind).toBe(kind);
});
