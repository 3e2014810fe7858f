// Dropout of values together: whole channels, and noise shapes.

import { describe, expect, test } from 'vitest';
import {
  Dropout,
  Dropout1d,
  Dropout2d,
  Dropout3d,
  type Layer,
  Linear,
  type PlainTensor,
  Sequential,
  tensor,
} from '../../src/index.ts';
import { lopsided } from '../support/data.ts';

const sizeOf = (shape: readonly number[]) => shape.reduce((size, length) => size * length, 1);
const inputOf = (shape: number[]) => ({ data: lopsided(5, shape), shape });

/** The index in a mask of each value of a shape. */
function places(shape: readonly number[], noise: readonly number[]): number[] {
  return Array.from({ length: sizeOf(shape) }, (_, flat) => {
    const index = shape.map((length, axis) => Math.floor(flat / sizeOf(shape.slice(axis + 1))) % length);
    return noise.reduce((at, length, axis) => at * length + (length === 1 ? 0 : index[axis]), 0);
  });
}

const CASES: [string, () => Layer, number[], number[]][] = [
  ['Dropout1d', () => new Dropout1d(0.4, { seed: 7 }), [5, 6, 40], [5, 6, 1]],
  ['Dropout1d, channels last', () => new Dropout1d(0.4, { seed: 7, layout: 'channels-last' }), [5, 7, 6], [5, 1, 6]],
  ['Dropout2d', () => new Dropout2d(0.3, { seed: 7 }), [4, 9, 3, 5], [4, 9, 1, 1]],
  ['Dropout2d, long rows', () => new Dropout2d(0.3, { seed: 7 }), [4, 9, 9, 5], [4, 9, 1, 1]],
  [
    'Dropout2d, channels last',
    () => new Dropout2d(0.3, { seed: 7, layout: 'channels-last' }),
    [4, 3, 5, 9],
    [4, 1, 1, 9],
  ],
  ['Dropout3d', () => new Dropout3d(0.5, { seed: 7 }), [3, 8, 2, 3, 4], [3, 8, 1, 1, 1]],
  ['features of all steps', () => new Dropout(0.5, { seed: 7, noiseShape: [null, 1, null] }), [4, 6, 11], [4, 1, 11]],
  ['steps of all samples', () => new Dropout(0.5, { seed: 7, noiseShape: [1, 30, 1] }), [4, 30, 11], [1, 30, 1]],
  ['axes by turns', () => new Dropout(0.5, { seed: 7, noiseShape: [null, 1, null, 1] }), [5, 3, 6, 2], [5, 1, 6, 1]],
  ['each value', () => new Dropout(0.5, { seed: 7, noiseShape: [null, 7] }), [9, 7], [9, 7]],
];

describe.each(CASES)('%s', (_, make, shape, noise) => {
  const at = places(shape, noise);

  test('drops what belongs together, and divides the rest by 1 − p', () => {
    const layer = make();
    const { p } = layer as Dropout;
    const x = inputOf(shape);
    const y = layer.forward(x).data;
    const kept = Array.from({ length: sizeOf(noise) }, () => new Set<boolean>());
    y.forEach((value, i) => {
      kept[at[i]].add(value !== 0);
      if (value !== 0) expect(Math.abs(value * (1 - p) - x.data[i])).toBeLessThanOrEqual(1e-6 * Math.abs(x.data[i]));
    });
    expect(kept.every(({ size }) => size === 1)).toBe(true);
    const share = kept.filter((one) => one.has(false)).length / kept.length;
    expect(Math.abs(share - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / kept.length));
  });

  test('backward has the mask of forward; tensors and in place as arrays', () => {
    const x = inputOf(shape);
    const layer = make();
    const y = layer.forward(x).data;
    const ones = { data: new Float32Array(x.data.length).fill(1), shape };
    const dx = layer.backward(ones).data;
    dx.forEach((value, i) => {
      expect([i, value === 0]).toEqual([i, y[i] === 0]);
      expect(Math.abs(value * x.data[i] - y[i])).toBeLessThanOrEqual(1e-6 * Math.abs(y[i]));
    });
    const t = tensor(x.data, shape);
    const twin = make();
    expect([...twin.forward(t, { out: t }).data]).toEqual([...y]);
    const dy = tensor(ones.data, shape);
    expect([...twin.backward(dy, { out: dy }).data]).toEqual([...dx]);
    t.dispose();
    dy.dispose();
  });

  test('the next mask is another, evaluation drops nothing', () => {
    const x = inputOf(shape);
    const layer = make();
    const [first, second] = [layer.forward(x).data, layer.forward(x).data];
    expect([...first]).not.toEqual([...second]);
    layer.eval();
    expect([...layer.forward(x).data]).toEqual([...x.data]);
    expect([...layer.backward(x).data]).toEqual([...x.data]);
  });
});

test('a dropped channel is 0 whatever it holds, and a kept one keeps NaN to itself', () => {
  const shape = [2, 8, 3, 3];
  const layer = new Dropout2d(0.5, { seed: 1 });
  const whole = layer.forward({ data: new Float32Array(144).fill(1), shape }).data;
  const twin = new Dropout2d(0.5, { seed: 1 });
  const y = twin.forward({ data: new Float32Array(144).fill(Number.NaN), shape }).data;
  expect(y.every((value, i) => (whole[i] === 0 ? value === 0 : Number.isNaN(value)))).toBe(true);
});

test('p of 0 keeps, p of 1 drops, and a batch without samples is one', () => {
  const x = inputOf([2, 3, 4]);
  expect([...new Dropout1d(0).forward(x).data]).toEqual([...x.data]);
  expect(new Dropout1d(1).forward(x).data.every((value) => value === 0)).toBe(true);
  expect(new Dropout1d(0.5).forward({ data: new Float32Array(0), shape: [0, 3, 4] }).shape).toEqual([0, 3, 4]);
});

test('in a network: compiled it is gone, shapes that are not known pass', () => {
  const net = new Sequential(new Dropout1d(0.5), new Linear(4, 2, { seed: 1 })).eval();
  const x = inputOf([2, 3, 4]);
  const run = net.compile();
  expect([...run(x).data]).toEqual([...net.forward(x).data]);
  expect(run.explain()).toContain('dropped: 0 Dropout1d(0.5): nothing to do in evaluation');
  run.dispose();
  expect(new Dropout(0.5, { noiseShape: [null, 1, 4] }).outputShape([2, 3, 4])).toEqual([2, 3, 4]);
});

describe('what is refused', () => {
  const any = (value: unknown) => value as never;
  const x = (shape: number[]): PlainTensor => ({ data: new Float32Array(sizeOf(shape)), shape });
  test.each<[() => unknown, string]>([
    [() => new Dropout2d(2), 'Dropout2d: p expected a number from 0 to 1, got 2'],
    [
      () => new Dropout2d(0.5, any({ noiseShape: [1] })),
      "Dropout2d(0.5): options expected 'seed' or 'layout', got 'noiseShape'",
    ],
    [
      () => new Dropout2d(0.5, { layout: any('NCHW') }),
      "Dropout2d(0.5): layout expected 'channels-first' or 'channels-last', got 'NCHW'",
    ],
    [
      () => new Dropout2d().forward(any(x([2, 3, 4]))),
      'Dropout2d(0.5): x expected rank 4, got rank 3 (shape [2, 3, 4])',
    ],
    [
      () => new Dropout(0.5, { noiseShape: [0, 1] }),
      'Dropout(0.5): noiseShape expected an array of positive integers and nulls, got [0, 1]',
    ],
    [
      () => new Dropout(0.5, { noiseShape: any('same') }),
      "Dropout(0.5): noiseShape expected an array of positive integers and nulls, got 'same'",
    ],
    [
      () => new Dropout(0.5, { noiseShape: [null, 1] }).forward(x([2, 3, 4])),
      'Dropout(0.5): x expected a shape that noiseShape [null, 1] fits, got [2, 3, 4]',
    ],
    [
      () => new Dropout(0.5, { noiseShape: [null, 1, 3] }).forward(x([2, 3, 4])),
      'Dropout(0.5): x expected a shape that noiseShape [null, 1, 3] fits, got [2, 3, 4]',
    ],
  ])('%s', (work, message) => {
    let thrown: Error | undefined;
    try {
      work();
    } catch (error) {
      thrown = error as Error;
    }
    expect(thrown?.message).toBe(message);
  });
});
