// A few seconds of each fuzzer, from fixed seeds; `npm run fuzz` goes on from others.

import { afterAll, describe, expect, test } from 'vitest';
import { close, configure, setThreads } from '../../src/index.ts';
import { Dice } from '../fuzz/dice.ts';
import { describeScript, play, scriptOf } from '../fuzz/stateful.ts';
import { jsonStructure } from '../fuzz/structure/files.ts';
import { onnxStructure } from '../fuzz/structure/protobuf.ts';
import { threadCase } from '../fuzz/threads.ts';
import { fixture } from '../support/weights.ts';

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

describe('files with their structure changed', () => {
  const model = fixture('onnx/half.onnx');

  test('a file follows from its seed, whatever was made before it', () => {
    const structure = jsonStructure(new TextEncoder().encode('{"a":[1,{}]}'));
    const fileOf = (seed: number) => {
      const parts = structure.parts();
      const dice = new Dice(seed);
      for (let round = 0; round < 4; round++) structure.change(parts, dice, false);
      return new TextDecoder().decode(structure.encode(parts));
    };
    const seeds = Array.from({ length: 2000 }, (_, seed) => seed);
    const first = seeds.map(fileOf);
    expect(seeds.filter((seed) => fileOf(seed) !== first[seed])).toEqual([]);
  });

  test('what is repeated inside of what is repeated is bounded', () => {
    const structure = onnxStructure(model);
    const rounds = [525947046, 1058187280, 636112869, 379259028];
    const parts = structure.parts();
    for (const seed of rounds) structure.change(parts, new Dice(seed), true);
    expect(structure.encode(parts).length).toBeLessThan(64 << 20);
  });
});
