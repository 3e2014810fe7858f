// A few seconds of each fuzzer, from fixed seeds; `npm run fuzz` goes on from others.

import { afterAll, expect, test } from 'vitest';
import { close, configure, setThreads } from '../../src/index.ts';
import { describeScript, play, scriptOf } from '../fuzz/stateful.ts';
import { threadCase } from '../fuzz/threads.ts';

// the build that gives the same bits everywhere
configure({ backend: 'simd' });
afterAll(close);

test('sequences of calls give what models, fresh layers and twins give', () => {
  for (let seed = 1; seed <= 1000; seed++) {
    const script = scriptOf(seed);
    const wrong = play(script);
    expect(wrong && `seed ${seed}: ${wrong}\n${describeScript(script)}`).toBeUndefined();
  }
});

test.each([2, 3])('large calls give the same bits on %i threads', (count) => {
  expect(setThreads(count)).toBe(count);
  for (let seed = 1; seed <= 60; seed++) expect([seed, threadCase(seed)]).toEqual([seed, undefined]);
});
