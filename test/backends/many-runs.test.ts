// Batches of many small runs: group and instance norm of many samples, ghost batches, long
// sequences. They take memory and time in proportion, and give what few runs give.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm1d,
  BatchRenorm,
  GroupNorm,
  InstanceNorm1d,
  type Layer,
  RecurrentBatchNorm1d,
  tensor,
} from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { normals } from '../support/data.ts';

const SAMPLES = 200;
const CHANNELS = 6;

/**
 * Layers whose samples, or pairs of them, are normalised by themselves; and the shape of one
 * sample.
 */
const LAYERS: Record<string, [make: () => Layer, sample: readonly number[]]> = {
  'group norm': [() => new GroupNorm(3, CHANNELS, { activation: 'tanh' }), [CHANNELS]],
  'group norm, channels last': [() => new GroupNorm(2, CHANNELS, { layout: 'channels-last' }), [4, CHANNELS]],
  'instance norm': [() => new InstanceNorm1d(CHANNELS, { affine: true }), [CHANNELS, 5]],
  'ghost batches': [() => new BatchNorm1d(CHANNELS, { virtualBatchSize: 2, momentum: 0 }), [CHANNELS]],
  'renormalized ghost batches': [
    () => new BatchRenorm(CHANNELS, { virtualBatchSize: 2, momentum: 0, rMax: 3, dMax: 5, average: 'variance' }),
    [CHANNELS],
  ],
};

describe.each(Object.entries(LAYERS))('%s of many samples', (name, [make, sample]) => {
  const each = sample.reduce((a, b) => a * b, 1);
  const values = normals(1, SAMPLES * each).map((value, i) => value * (1 + (i % 7)) + (i % 5));
  const gradient = normals(2, SAMPLES * each);
  const made = () => {
    const layer = make();
    layer.parameters()[0].data.forEach((_value, c, gamma) => {
      gamma[c] = 0.5 + c / 3;
    });
    layer.parameters()[1].data.forEach((_value, c, beta) => {
      beta[c] = c / 2 - 1;
    });
    return layer;
  };
  const part = (data: Float32Array, from: number, many: number) => ({
    data: data.slice(from * each, (from + many) * each),
    shape: [many, ...sample],
  });

  test('has the bits of a few at a time, forward and backward', () => {
    const [whole, few] = [made(), made()];
    const y = whole.forward(part(values, 0, SAMPLES));
    const dx = whole.backward(part(gradient, 0, SAMPLES));
    for (const from of [0, 64, 128, 190]) {
      const expected = few.forward(part(values, from, 10)).data;
      expect(y.data.slice(from * each, (from + 10) * each)).toEqual(expected);
      const back = few.backward(part(gradient, from, 10)).data;
      expect(dx.data.slice(from * each, (from + 10) * each)).toEqual(back);
    }
  });

  test('adds up the gradients of all of them', () => {
    const [whole, few] = [made(), made()];
    whole.forward(part(values, 0, SAMPLES));
    whole.backward(part(gradient, 0, SAMPLES));
    for (let from = 0; from < SAMPLES; from += 10) {
      few.forward(part(values, from, 10));
      few.backward(part(gradient, from, 10));
    }
    whole.parameters().forEach(({ grad }, i) => {
      const { grad: sums } = few.parameters()[i];
      grad.forEach((value, c) => {
        expect(Math.abs(value - sums[c])).toBeLessThanOrEqual(2 ** -20 * SAMPLES * each);
      });
    });
  });

  // (group norm takes gamma as it is in backward, as layer norm does)
  if (!name.startsWith('group'))
    test('backward goes by gamma and beta as they were in forward', () => {
      const [layer, twin] = [made(), made()];
      for (const one of [layer, twin]) one.forward(part(values, 0, SAMPLES));
      for (const { data } of layer.parameters()) data.fill(9);
      expect(layer.backward(part(gradient, 0, SAMPLES))).toEqual(twin.backward(part(gradient, 0, SAMPLES)));
    });
});

test('group norm of 20,000 rows takes linear memory for its inputs and outputs, and little else', () => {
  const { heap } = backend();
  const layer = new GroupNorm(8, 64);
  const x = tensor(normals(3, 20_000 * 64), [20_000, 64]);
  layer.forward(x).dispose();
  const before = heap.size;
  const y = layer.forward(x);
  const dx = layer.backward(y);
  expect(heap.size - before).toBeLessThanOrEqual(2 * 4 * x.size);
  for (const one of [x, y, dx, layer]) one.dispose();
});

test('steps beyond the longest trained share one map and one copy of the statistics', () => {
  const norm = new RecurrentBatchNorm1d(3, { maxSteps: 4 });
  norm.forward({ data: normals(4, 5 * 2 * 3), shape: [5, 2, 3] });
  norm.eval();
  const { heap } = backend();
  const at = (steps: number) => {
    const x = { data: normals(5, 2 * steps * 3), shape: [2, steps, 3] };
    norm.forward(x);
    norm.backward(x);
    return heap.blocks;
  };
  const few = at(3);
  expect([at(30), at(3000)]).toEqual([few, few]);
});
