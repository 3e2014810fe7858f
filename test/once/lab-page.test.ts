// The page of the lab, as far as it needs no browser: inputs, links, charts, two nets at once.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadDigits } from '../../examples/digits/data.ts';
import { PIXELS } from '../../examples/digits/digits.ts';
import {
  DEFAULTS,
  Duel,
  type Hidden,
  type Scene,
  type Settings,
  type Side,
  sentenceOf,
} from '../../examples/lab/duel.ts';
import { EXPERIMENTS } from '../../examples/lab/experiments.ts';
import { chart, ticksIn } from '../../examples/lab/page/chart.ts';
import { aboutOf, exactly, isRefused, readControls, settingsIn, shortly } from '../../examples/lab/page/inputs.ts';
import { linkOf, readLink, settingsOf } from '../../examples/lab/page/link.ts';
import { chartsOf, type Run } from '../../examples/lab/page/render.ts';
import { drawn } from '../../examples/lab/page/scene.ts';
import { say, t } from '../../examples/lab/words.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const NAMES = EXPERIMENTS.map(({ name }) => name);

describe('inputs of the page', () => {
  const refusal = (typed: Record<string, string>) => {
    const read = readControls(typed);
    return isRefused(read) ? say(read.why) : read;
  };

  test('are read as numbers and choices', () => {
    const typed = { rate: ' 1e9', depth: '30', batch: '1', norm: 'layer', activation: 'relu' };
    expect(refusal(typed)).toEqual({ rate: 1e9, depth: 30, batch: 1, norm: 'layer', activation: 'relu' });
  });

  test.each([
    [{ rate: 'NaN' }, 'learning rate expected a number from 10⁻⁶ to 10⁹, got NaN'],
    [{ rate: '1e10' }, 'learning rate expected a number from 10⁻⁶ to 10⁹, got 1e10'],
    [{ scale: '0' }, 'initial scale expected a number from 0.001 to 1000, got 0'],
    [{ depth: '' }, 'hidden layers expected a whole number from 1 to 30, got nothing'],
    [{ depth: '2.5' }, 'hidden layers expected a whole number from 1 to 30, got 2.5'],
    [{ batch: '1' }, 'batch size expected a whole number from 2 to 1000 with batch norm, got 1'],
    [{ batch: '1', norm: 'renorm' }, 'batch size expected a whole number from 2 to 1000 with batch norm, got 1'],
    [{ batch: '0', norm: 'none' }, 'batch size expected a whole number from 1 to 1000, got 0'],
    [{ norm: 'lots' }, 'norm expected one of batch, none, renorm, layer, group, got lots'],
  ])('%j is answered in the words of its label', (typed, message) => {
    expect(refusal(typed as Record<string, string>)).toBe(message);
  });

  test('say their unit, range and default', () => {
    expect(say(aboutOf('rate', 0.5, false))).toBe('times the gradient; 10⁻⁶ to 10⁹, default 0.5');
    expect(say(aboutOf('batch', 60, false))).toBe('digits; 2 to 1000, default 60');
    expect(say(aboutOf('batch', 60, true))).toBe('digits; 1 to 1000, default 60');
  });

  test('numbers of any size are short', () => {
    const values = [0, 0.5, -0.25, 1234.5, 1e5, 1e9, 1e-6, 1.2e-7, -3.4e38, Number.NaN];
    expect(values.map(shortly).join(' ')).toBe('0 0.5 −0.25 1230 10⁵ 10⁹ 10⁻⁶ 1.2·10⁻⁷ −3.4·10³⁸ –');
    expect([0.12345, 1e9, 123456, -2e-7].map(exactly).join(' ')).toBe('0.12345 10⁹ 1.23456·10⁵ −2·10⁻⁷');
    expect(say(settingsIn({ rate: 1e9, norm: 'layer' }))).toBe('learning rate 10⁹, norm layer norm');
  });
});

describe('links', () => {
  const defaults = { rate: '0.5', batch: '60' };

  test('hold settings, and give them back', () => {
    const link = linkOf('speed', { rate: '1e9', batch: 8 });
    expect(link).toBe('#speed?rate=1e9&batch=8');
    expect(readLink(link)).toEqual({ name: 'speed', settings: { rate: '1e9', batch: '8' } });
    expect(settingsOf(readLink('#speed?batch=8')!, defaults)).toEqual({ settings: { rate: '0.5', batch: '8' } });
    expect([linkOf('undo', {}), readLink('#undo'), readLink('#')]).toEqual([
      '#undo',
      { name: 'undo', settings: {} },
      undefined,
    ]);
  });

  test.each([
    ['#speed?speed=2', 'The link sets speed, which is no setting here.'],
    ['#speed?rate=NaN', 'The link cannot be followed: learning rate expected a number from 10⁻⁶ to 10⁹, got NaN.'],
  ])('%s is refused', (hash, message) => {
    const found = settingsOf(readLink(hash)!, defaults);
    expect('why' in found && say(found.why)).toBe(message);
  });
});

describe('charts of the page', () => {
  const line = { label: 'one & all', tone: 'a' as const, x: [0, 5, 10], y: [0, Number.NaN, 1e30] };
  const options = { title: 'T', xLabel: 'steps', yLabel: 'loss', series: [line], yRange: [0, 3] as const };
  const places = (html: string) => [...html.matchAll(/points="([^"]*)"/g)].map(([, points]) => points);

  test('what is beyond an axis stands at its edge, and what is no number nowhere', () => {
    expect(places(chart(options))).toEqual(['0,100 100,0']);
    expect(chart(options)).toContain('aria-label="T: loss over steps. one &amp; all: 0 at 0, 10³⁰ at 10."');
  });

  test('axes have round marks, and hold text of any width', () => {
    const html = chart({ ...options, yRange: undefined });
    expect([...html.matchAll(/class="y"[^>]*>([^<]*)</g)].map(([, text]) => text)).toEqual(['0', '5·10²⁹', '10³⁰']);
    expect(html).toContain('--gutter:6ch');
    expect([ticksIn([0, 1]), ticksIn([-3, 8]), ticksIn([2, 2])]).toEqual([[0, 0.5, 1], [0, 5], []]);
  });

  test('bars stand on 0', () => {
    const html = chart({ ...options, isBars: true, isBare: true, series: [{ ...line, y: [1, 2, 3] }] });
    expect(
      [...html.matchAll(/<rect class="bar a" [^>]*y="([^"]*)"[^>]*height="([^"]*)"/g)].map(([, y, h]) => [y, h]),
    ).toEqual([
      ['66.67', '33.33'],
      ['33.33', '66.67'],
      ['0', '100'],
    ]);
  });

  test('no values are an empty chart that says so', () => {
    expect(chart({ ...options, series: [{ ...line, x: [], y: [] }] })).toContain('one &amp; all: no values.');
    const html = chart({ ...options, series: [{ ...line, y: [Number.NaN, Number.NaN, Number.NaN] }] });
    expect(html).toContain('>no value that is a number<');
    expect(html).toContain('>10</span>');
  });
});

describe('two runs of a card', () => {
  const run = (rate: number, y: number[]): Run => ({
    controls: { rate, batch: 60 },
    result: {
      setup: '',
      verdict: '',
      holds: true,
      figures: [
        {
          title: 'T',
          series: [{ label: t`loss`, tone: 'a', x: [0, 1], y }],
          xLabel: 'x',
          yLabel: 'y',
          xTicks: [[rate, `${rate}`]],
        },
      ],
    },
  });

  test('lie over one another, and the legend says in what they differ', () => {
    const [one] = chartsOf(run(0.5, [1, 2]), run(2, [3, 4]), say);
    expect(one.series.map(({ label, y, isBefore }) => [label, y, isBefore])).toEqual([
      ['loss (learning rate 0.5)', [1, 2], undefined],
      ['loss (learning rate 2)', [3, 4], true],
    ]);
    expect(one.xTicks).toEqual([
      [0.5, '0.5'],
      [2, '2'],
    ]);
  });

  test('of the same settings are one', () => {
    const [one] = chartsOf(run(2, [1, 2]), run(2, [1, 2]), say);
    expect(one.series.map(({ label }) => label)).toEqual(['loss']);
  });
});

describe('two nets at once', () => {
  /** Small pictures of two kinds that are easy to tell apart, as far as ten classes go. */
  const digits = (count: number, broken = false) => ({
    images: Float32Array.from({ length: count * PIXELS }, (_, i) => {
      const n = Math.floor(i / PIXELS);
      return broken ? Number.NaN : Number(i % 10 === n % 10) * (0.5 + ((n * 7) % 5) / 10);
    }),
    labels: Uint8Array.from({ length: count }, (_, n) => n % 10),
    count,
  });
  const scenes = (settings: Partial<Settings>, steps: number, broken = false): Scene => {
    const duel = new Duel({ train: digits(200, broken), test: digits(50) }, { ...DEFAULTS, ...settings }, { steps });
    while (!duel.isDone) duel.step(false);
    duel.dispose();
    return duel.scene;
  };

  test('train on the same batches; their curves, and what their last hidden layer does, are shown', () => {
    const scene = scenes({ batch: 20 }, 100);
    for (const [side, stages] of [
      [scene.batch, ['linear', 'batch norm', 'sigmoid']],
      [scene.none, ['linear', 'sigmoid']],
    ] as const) {
      expect(side.steps.length).toBe(51);
      expect([side.loss.length, side.accuracy.length]).toEqual([51, 51]);
      expect(side.hidden!.neuron.map(({ stage, values }) => [stage, values.length])).toEqual(
        stages.map((stage) => [stage, 20]),
      );
      expect(side.hidden!.histogram.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    }
    expect(scene.batch.accuracy.at(-1)).toBeGreaterThan(0.9);
    expect(scene.none.loss[0]).not.toBe(scene.batch.loss[0]);
    expect(say(sentenceOf(scene))).toMatch(/^After 100 steps .*\d % of the held-out digits.*\.$/);
  });

  test('on real digits the net with batch norm learns while the one without still stands', () => {
    const duel = new Duel(loadDigits(), DEFAULTS);
    for (let step = 0; step < 120; step++) duel.step(step === 119);
    const { batch, none } = duel.scene;
    expect(batch.accuracy.at(-1)).toBeGreaterThan(0.8);
    expect(none.accuracy.at(-1)).toBeLessThan(0.5);
    expect(batch.reached).toBeLessThanOrEqual(80);
    expect(say(sentenceOf(duel.scene))).toMatch(
      /^After 120 steps the net with batch norm recognises \d+\.\d % of the held-out digits, the net without it \d+\.\d %\. Its last hidden layer tells digits apart: /,
    );
    duel.dispose();
  });

  test('the same settings give the same scene', () => {
    expect(scenes({ batch: 20 }, 20)).toEqual(scenes({ batch: 20 }, 20));
  });

  test('a net that stops is explained, and its picture stays on its axes', () => {
    const scene = scenes({}, 10, true);
    expect(scene.step).toBe(1);
    expect(say(sentenceOf(scene))).toMatch(
      /^Both nets stopped\. With batch norm the net stopped at step 1: the output of layer 1 \(linear\) is out of the range .* Without batch norm the net stopped at step 1: /,
    );
    expect(drawn(scene, say)).not.toMatch(/NaN|undefined|Infinity/);
  });

  test.each([
    { rate: 1e9 },
    { rate: 1e-6 },
    { scale: 1e3, rate: 1e9 },
    { scale: 1e-3 },
    { depth: 30, batch: 2 },
    { batch: 2 },
  ])('%j is trained to an end, and drawn', (settings) => {
    const scene = scenes(settings, 20);
    expect(scene.step).toBe(20);
    const text = say(sentenceOf(scene));
    expect(text).toMatch(/\d.*\.$/s);
    expect(text + drawn(scene, say)).not.toMatch(/NaN|undefined|Infinity/);
  });

  test('a net whose units are dead is called dead', () => {
    const { batch, none, ...scene } = scenes({ scale: 1e-3, depth: 8 }, 20);
    expect(none.hidden!.dead).toBeGreaterThan(0.5);
    expect(say(sentenceOf({ ...scene, batch, none }))).toMatch(
      /^Without batch norm \d+\.\d % of the hidden units are dead after 20 steps: they give one value for the whole batch/,
    );
  });

  const side = (accuracy: number, over: Partial<Hidden> = {}, reached?: number): Side => ({
    steps: [10],
    loss: [1],
    accuracy: [accuracy],
    reached,
    hidden: { histogram: [1], spread: 0.3, saturated: 0, dead: 0, neuron: [], ...over },
    stopped: undefined,
  });
  const scene = { step: 10, steps: 600, settings: DEFAULTS };
  test.each([
    [
      side(0.9),
      side(0.5, { spread: 0.01 }),
      "After 10 steps the net with batch norm recognises 90.0 % of the held-out digits, the net without it 50.0 %. Its last hidden layer tells digits apart: a unit's outputs spread by 0.30, without batch norm by 0.010.",
    ],
    [
      side(0.9),
      side(0.5, { saturated: 0.8 }),
      "After 10 steps the net with batch norm recognises 90.0 % of the held-out digits, the net without it 50.0 %. Without batch norm 80.0 % of the last hidden layer's outputs lie at the ends of the sigmoid, where its slope is almost 0; with it 0.0 %.",
    ],
    [
      side(0.9, {}, 40),
      side(0.91, {}, 70),
      'After 10 steps both nets recognise about as many held-out digits, 90.0 % with batch norm and 91.0 % without; to 80.0 % the net with it took 40 steps, the net without 70.',
    ],
    [
      side(0.4),
      side(0.6),
      'After 10 steps the net without batch norm is ahead: it recognises 60.0 % of the held-out digits, the net with it 40.0 %.',
    ],
    [
      side(0.2),
      side(0.1),
      'After 10 steps neither net has begun to learn (a tenth is chance): 20.0 % of the held-out digits are recognised with batch norm, 10.0 % without.',
    ],
  ])('one sentence says what is seen (%#)', (batch, none, sentence) => {
    expect(say(sentenceOf({ ...scene, batch, none }))).toBe(sentence);
  });
});

test('the page is a folder that needs nothing else', () => {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  try {
    execFileSync(process.execPath, ['--import', 'tsx', 'examples/lab/main.ts', '--build', folder], { cwd: root });
    expect(readdirSync(folder).sort()).toEqual(['digits.bin', 'index.html', 'page.js', 'worker.js', 'zh.html']);
    const page = readFileSync(join(folder, 'index.html'), 'utf8');
    for (const name of [...NAMES, 'playground']) expect(page).toContain(`<details class="card" id="${name}"`);
    expect(page.match(/class="verdict"/g)!.length).toBe(NAMES.length);
    expect(page.match(/Of 5 further seeds it held for [0-5]\./g)!.length).toBe(NAMES.length - 1);
    for (const file of ['index.html', 'zh.html']) {
      const html = readFileSync(join(folder, file), 'utf8');
      expect(html).not.toMatch(/NaN|undefined|Infinity|https?:\/\//);
      // every input has a label, and every reference leads somewhere
      const ids = new Set([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
      const named = [...html.matchAll(/ (?:for|aria-describedby)="([^"]+)"/g)].map(([, id]) => id);
      expect(named.filter((id) => !ids.has(id))).toEqual([]);
      expect(html.match(/<(?:input id|select)/g)!.length).toBe(html.match(/<label for=/g)!.length);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
