// The experiments about batch norm, as `npm run lab` runs them.

import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { EXPERIMENTS } from '../../examples/lab/experiments.ts';
import { readKept } from '../../examples/lab/kept.ts';
import { draw, tabulate } from '../../examples/lab/terminal.ts';
import { afterCheck } from '../../examples/lab/verdict.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const args = (...given: string[]) => ['--import', 'tsx', 'examples/lab/main.ts', ...given];
const lab = (...given: string[]) => execFileSync(process.execPath, args(...given), { cwd: root, encoding: 'utf8' });

const NAMES = [
  'anatomy',
  'undo',
  'saturation',
  'shift',
  'initialisation',
  'learning-rate',
  'depth',
  'speed',
  'regularisation',
  'train-and-eval',
  'small-batches',
  'resnet-batches',
  'one-at-a-time',
  'sequences',
  'dropout',
  'poison',
  'inference-cost',
];

test('are listed', () => {
  const lines = lab('--list').trim().split('\n');
  expect(lines.map((line) => line.split(' ')[0])).toEqual(NAMES);
});

describe('all of them, quickly, from a seed that nothing was tuned with', () => {
  const { results } = JSON.parse(lab('--all', '--quick', '--json', '--seed', '1001')) as {
    results: Record<
      string,
      { verdict: string; holds?: boolean; figures: { series: { x: number[]; y: number[] }[] }[] }
    >;
  };
  test.each(NAMES)('%s has figures and a verdict', (name) => {
    const { verdict, figures } = results[name];
    expect(verdict).toMatch(/\d.*\.$/s);
    expect(verdict).not.toMatch(/NaN|undefined|Infinity/);
    for (const { series } of figures)
      for (const { x, y } of series) expect([x.length > 1, y.length]).toEqual([true, x.length]);
  });
  // those that do not hang on chance or the clock
  test.each(['anatomy', 'undo', 'saturation', 'train-and-eval', 'one-at-a-time', 'dropout', 'poison'])(
    '%s holds',
    (name) => {
      expect([results[name].verdict, results[name].holds]).toEqual([results[name].verdict, true]);
    },
  );
});

test('the same seed gives the same figures', () => {
  const run = () => JSON.parse(lab('poison', '--quick', '--json', '--seed', '3')).results;
  expect(run()).toEqual(run());
});

test.each([
  [['nothing'], /^lab expected one of anatomy, .*, got 'nothing'\n$/s],
  [[], /^lab expected the name of an experiment \(anatomy, .*\), --all or --list, got none\n$/s],
  [['undo', '--seed', 'x'], /^lab expected --seed with an integer of 0 or more, got x\n$/],
  [['undo', '--fast'], /^lab expected NAME or an option that --help lists, got Unknown option '--fast'/s],
])('%s is refused', (given, message) => {
  const { status, stderr } = spawnSync(process.execPath, args(...given), { cwd: root, encoding: 'utf8' });
  expect([status, stderr]).toEqual([2, expect.stringMatching(message)]);
});

test('every experiment has a kept result of its present code; `npm run lab -- NAME --keep` makes it', () => {
  const kept = readKept(NAMES);
  expect(Object.keys(kept)).toEqual(NAMES);
  for (const { name } of EXPERIMENTS) {
    const { about, result } = kept[name];
    expect(about).toMatchObject({ seeds: [1, 2, 3], check: { of: 5 } });
    if (result.holds) expect(about.check.held).toBeGreaterThanOrEqual(4);
  }
});

test('a claim that fewer than four of five further seeds bear out is not said to hold', () => {
  expect([afterCheck(true, 4), afterCheck(true, 3), afterCheck(false, 5), afterCheck(undefined, 0)]).toEqual([
    true,
    false,
    false,
    undefined,
  ]);
});

test('figures and tables as text', () => {
  const figure = {
    title: 'Loss',
    series: [
      { label: 'one', tone: 'a' as const, x: [0, 10], y: [1, 0] },
      { label: 'other', tone: 'b' as const, x: [0, 10], y: [0, Number.NaN] },
    ],
    xLabel: 'steps',
    yLabel: 'nats',
  };
  const lines = draw(figure).split('\n');
  expect(lines[0]).toBe('Loss (nats)');
  expect(lines[1]).toBe('1 │●');
  expect(lines[12]).toMatch(/^0 │○ +●$/);
  expect(lines.slice(-2)).toEqual(['   ● one', '   ○ other']);
  expect(
    tabulate({
      title: 'T',
      heads: ['a', 'b'],
      rows: [
        ['x', 10],
        ['yy', 2],
      ],
    }),
  ).toBe('T\n  a    b\n  x   10\n  yy   2');
  // Chinese takes two columns a character
  expect(
    tabulate({
      title: 'T',
      heads: ['', '毫秒'],
      rows: [
        ['批归一化', 10],
        ['tanh', 2],
      ],
    }),
  ).toBe('T\n            毫秒\n  批归一化    10\n  tanh         2');
  const [first, second] = ['累积', '总体'].map((label, i) => [10 * i, label] as const);
  expect(draw({ ...figure, xTicks: [first, second] }).split('\n')[14]).toBe(`   累积${' '.repeat(57)}总体`);
});
