// The benchmark's names and statistics; nothing is timed here.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { caseGroups } from '../../bench/cases.ts';
import { changes, flaw, type Run } from '../../bench/compare.ts';
import { nameOf, rowOf } from '../../bench/figures.ts';
import { bareLoops } from '../../bench/loops.ts';
import { nearest, selected } from '../../bench/select.ts';
import { medianInterval, rankTest, shift } from '../../bench/statistics.ts';
import { csv } from '../../bench/text.ts';
import { merged } from '../../bench/timing.ts';
import { Random } from '../../src/nn/random.ts';

const names = caseGroups().flatMap((group) => group.names);
const named = (filter: string) => [...selected(names, filter)].map((i) => nameOf(names[i]));

/** First cells of the README's tables of figures. */
function readmeNames(): string[] {
  const text = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const section = text.slice(text.indexOf('## How fast'), text.indexOf('## Where it runs'));
  return section
    .split('\n')
    .filter((line) => line.startsWith('| ') && /\d/.test(line.split('|')[1]))
    .map((line) => line.split('|')[1].trim());
}

test('every name that the README prints is taken by --filter', () => {
  const printed = readmeNames().filter((name) => !name.startsWith('tensors'));
  expect(printed.length).toBeGreaterThan(20);
  for (const name of printed) expect(named(name), name).not.toEqual([]);
});

test('a filter takes whole shapes, × or x, and free spaces', () => {
  expect(named('1×1024')).toEqual(named('1x1024'));
  expect(named('1 × 1024')).toEqual(named('1x1024'));
  expect(named('1×64').every((name) => name.endsWith('vector 1x64'))).toBe(true);
  expect(named('eval|ncx').every((name) => name.startsWith('eval | ncx'))).toBe(true);
  expect(named('32×64×56×56, channels last, evaluation')).toContain('eval | nxc | resnet50/conv2 32x56x56x64');
  const both = named('training forward, 32×64×56×56; channels last');
  expect(both).toContain('train | ncx | resnet50/conv2 32x64x56x56');
  expect(both).toContain('train | nxc | resnet50/conv2 32x56x56x64');
  expect(named('')).toHaveLength(names.length);
});

test('every name as it is listed takes its own case, and names are unique', () => {
  for (const name of names) expect(named(nameOf(name))).toContain(nameOf(name));
  expect(new Set(names.map(nameOf)).size).toBe(names.length);
  const loops = bareLoops();
  for (const loop of loops) expect(selected(loops, nameOf(loop)).size).toBeGreaterThan(0);
});

test('an unknown filter has nearest names', () => {
  expect(named('evul 1x1024')).toEqual([]);
  expect(nearest(names, 'evul | nxc | row 1x1024')[0]).toBe('eval | nxc | row 1x1024');
});

test('the interval of a median holds it as often as it says', () => {
  const random = new Random(3);
  for (const n of [8, 40]) {
    let held = 0;
    for (let i = 0; i < 4000; i++) {
      const [low, high] = medianInterval(Array.from({ length: n }, () => Math.exp(random.normal())));
      held += Number(low <= 1 && 1 <= high);
    }
    expect(held / 4000).toBeGreaterThan(0.94);
  }
  expect(medianInterval([3, 1, 2])).toEqual([1, 3]);
});

test('the rank test is exact', () => {
  expect(rankTest([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])).toBeCloseTo(2 / 252, 12);
  expect(rankTest([1, 2, 3, 4, 6], [5, 7, 8, 9, 10])).toBeCloseTo(4 / 252, 12);
  expect(rankTest([1, 1, 1, 1, 1], [1, 1, 1, 1, 1])).toBe(1);
  expect(shift([1, 2, 3, 4, 5], [11, 12, 13, 14, 15]).estimate).toBe(10);
});

/** A run of five processes on a machine of its own speed, with noise. */
function run(seed: number, factor: number, noise: number): Run {
  const random = new Random(seed);
  const speed = Math.exp(0.2 * random.normal());
  const timing = (time: number) =>
    merged(
      Array.from({ length: 5 }, () => {
        const level = time * speed * Math.exp(noise * random.normal());
        const rounds = [Array.from({ length: 8 }, () => level * Math.exp(noise * random.normal()))];
        return { rounds, samples: 800, spread: noise };
      }),
    );
  const times = () => ({ ours: timing(10 * factor), plain: timing(100), copy: timing(8) });
  const rows = Array.from({ length: 300 }, (_, i) =>
    rowOf({ op: 'case', layout: '', shape: `${i}` }, { bytes: 1, times: times() }),
  );
  const about = { machine: 'a machine, 2 cores', node: 'v20', backend: 'simd', threads: 1, date: '2026-11-29' };
  return { about, rows };
}

test('two runs of the same code differ in less than 5 % of cases, whatever the noise', () => {
  for (const noise of [0.01, 0.05, 0.3]) {
    const found = changes(run(1, 1, noise), run(2, 1, noise));
    expect(found).toHaveLength(300);
    const reported = found.filter(({ verdict }) => verdict === 'slower' || verdict === 'faster');
    expect(reported.length).toBeLessThan(15);
  }
});

test('what is a tenth slower is reported, and named unclear where noise hides it', () => {
  const verdicts = (noise: number) => changes(run(1, 1, noise), run(2, 1.1, noise)).map(({ verdict }) => verdict);
  expect(verdicts(0.01).every((verdict) => verdict === 'slower')).toBe(true);
  expect(verdicts(0.5).filter((verdict) => verdict === 'unclear').length).toBeGreaterThan(150);
});

test('files of other kinds are no baseline', () => {
  expect(flaw(run(1, 1, 0.01))).toBeUndefined();
  expect(flaw(null)).toBe('no figures of npm run bench');
  expect(flaw({ about: {}, rows: [{ op: 'a' }] })).toBe('a case without times of ours and plain');
});

test('comma-separated values quote commas', () => {
  const row = { ...run(1, 1, 0.01).rows[0], op: 'eval, relu' };
  const [head, line] = csv([row]).split('\n');
  expect(line.startsWith('"eval, relu",')).toBe(true);
  expect(head.split(',')).toHaveLength(line.replace('"eval, relu"', 'op').split(',').length);
});
