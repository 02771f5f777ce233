/** Two tabs without locks that want one file, step by step: what each of them is told of it. */

import { OpfsStore } from "../../src/engine/opfs";

const sha256 = "0".repeat(64);
const content = new TextEncoder().encode("a shard");

async function meet() {
  const one = (await OpfsStore.open()) as OpfsStore;
  const other = (await OpfsStore.open()) as OpfsStore;
  const whole = async () => (await other.stat(sha256))?.whole ?? false;
  const told: Record<string, unknown> = {};

  const mine = await one.open(sha256, content.length);
  told.wholeWhenOpened = await whole();
  await mine.restart("etag");
  await mine.write(content.subarray(0, 3));
  told.wholeHalfWay = await whole();
  await mine.write(content.subarray(3));
  await mine.close(true);
  told.wholeAtTheEnd = await whole();

  // The other one looked before the end, and opens it after.
  const theirs = await other.open(sha256, content.length);
  told.keptByTheOther = theirs.bytes;
  told.readMeanwhile = await (await one.read(sha256))?.text();
  await theirs.close(true);
  told.readAfterwards = await (await one.read(sha256))?.text();

  // What nobody began as a transfer is no part of one.
  const shorter = await other.open(sha256, content.length + 1);
  told.keptOfAnother = shorter.bytes;
  await shorter.close(false);
  told.wholeWhenLeft = await whole();
  return told;
}

void meet().then(
  (told) => self.postMessage(told),
  (thrown) => self.postMessage({ thrown: String(thrown) }),
);
