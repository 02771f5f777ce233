import { expect, test } from "vitest";
import { latestWins } from "../../src/library/latest";

/** Jobs that end when they are told to, or when they are cancelled. */
function jobs() {
  const log: string[] = [];
  const ends = new Map<string, () => void>();
  const queue = latestWins<string, string>(
    (name, signal) =>
      new Promise((resolve) => {
        log.push(`${name} begins`);
        ends.set(name, () => resolve(`${name} done`));
        const stop = () => {
          log.push(`${name} stops`);
          resolve(`${name} cancelled`);
        };
        if (signal.aborted) stop();
        signal.addEventListener("abort", stop);
      }),
  );
  return { log, queue, end: (name: string) => ends.get(name)?.() };
}

const turn = () => new Promise((resolve) => setTimeout(resolve));

test("the newest job wins, the one between is never begun", async () => {
  const { log, queue, end } = jobs();
  const [a, b, c] = [queue.start("a"), queue.start("b"), queue.start("c")];
  await turn();
  end("c");
  expect(await Promise.all([a, b, c])).toEqual([undefined, undefined, "c done"]);
  expect(log).toEqual(["c begins"]);
});

test("a running job lets go before the next begins", async () => {
  const { log, queue, end } = jobs();
  const a = queue.start("a");
  await turn();
  const b = queue.start("b");
  await turn();
  end("b");
  expect(await Promise.all([a, b])).toEqual([undefined, "b done"]);
  expect(log).toEqual(["a begins", "a stops", "b begins"]);
});

test("a cancelled job reports its end", async () => {
  const { queue } = jobs();
  const a = queue.start("a");
  await turn();
  queue.cancel();
  expect(await a).toBe("a cancelled");
});

test("a job that is cancelled while it waits reports its end too", async () => {
  const { queue } = jobs();
  const a = queue.start("a");
  queue.cancel();
  expect(await a).toBe("a cancelled");
});
