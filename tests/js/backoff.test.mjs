import assert from "node:assert/strict";
import { test } from "node:test";

import { CLIENT } from "./support.mjs";

const { Backoff } = await import(CLIENT);

test("the bound grows by its factor up to the maximum", () => {
  const backoff = new Backoff({ initial: 100, maximum: 1000, factor: 3 });
  assert.deepEqual(
    [0, 1, 2, 3, 5000].map((n) => backoff.bound(n)),
    [100, 300, 900, 1000, 1000],
  );
});

test("a wait is drawn from the whole range", () => {
  const backoff = new Backoff({ initial: 100, maximum: 1000 });
  assert.deepEqual(
    [0, 0.5, 1].map((chance) => backoff.delay(2, chance)),
    [0, 200, 400],
  );
  const drawn = Array.from({ length: 2000 }, () => backoff.delay(1));
  assert.ok(Math.max(...drawn) <= 200 && Math.min(...drawn) >= 0);
  const mean = drawn.reduce((a, b) => a + b) / drawn.length;
  assert.ok(mean > 85 && mean < 115, `${mean}`);
});

test("without jitter it is the bound", () => {
  const backoff = new Backoff({ initial: 100, jitter: false });
  assert.equal(backoff.delay(3, 0), 800);
});

test("what makes no sense is refused", () => {
  for (const options of [
    { initial: 0 },
    { initial: 9, maximum: 5 },
    { maximum: Infinity },
    { initial: NaN },
  ]) {
    assert.throws(() => new Backoff(options), /initial must be above 0/);
  }
  assert.throws(() => new Backoff({ factor: 0.5 }), /factor/);
});
