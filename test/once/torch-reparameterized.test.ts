// PyTorch's names for weights that are worked out of others: spectral_norm and weight_norm, by their
// hooks and by their parametrizations.

import { describe, expect, test } from 'vitest';
import { Conv2d, ConvTranspose2d, type Layer, Linear, Sequential, SpectralNorm } from '../../src/index.ts';
import { fromTorch, readSafetensors, toTorch, writeSafetensors } from '../../src/weights/index.ts';
import { normals, worstDifference } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

const CASES: [string, () => ConstructorParameters<typeof SpectralNorm>[0], number[]][] = [
  ['Linear', () => new Linear(4, 3, { seed: 1 }), [2, 4]],
  ['Conv2d', () => new Conv2d(4, 3, 2, { seed: 1 }), [2, 4, 3, 3]],
  // as many inputs as outputs: its rows are the second axis all the same
  ['ConvTranspose2d', () => new ConvTranspose2d(3, 3, 2, { seed: 1 }), [2, 3, 3, 3]],
];

describe.each(CASES)('spectral norm of %s', (_, make, shape) => {
  const x = { data: normals(1, sizeOf(shape)), shape };
  const trained = () => {
    const net = new Sequential(new SpectralNorm(make(), { seed: 2 }));
    net.forward(x);
    return net;
  };

  test.each([
    [
      'parametrizations',
      ['parametrizations.weight.original', 'bias', 'parametrizations.weight.0._u', 'parametrizations.weight.0._v'],
    ],
    ['hook', ['weight_orig', 'bias', 'weight_u', 'weight_v']],
  ] as const)('names of %s come and go', (spectralNorm, names) => {
    const net = trained();
    const tensors = toTorch(net.stateDict(), { spectralNorm, rename: { fc: '0' } });
    expect([...tensors.keys()].sort()).toEqual(names.map((name) => `fc.${name}`).sort());
    const file = readSafetensors(writeSafetensors(tensors));
    const next = new Sequential(new SpectralNorm(make(), { seed: 3 }));
    const read = fromTorch(file, { layer: next, rename: { fc: '0' } });
    expect([read.unused, read.missing]).toEqual([[], []]);
    next.loadStateDict(read.state);
    expect(next.eval().forward(x)).toEqual(net.eval().forward(x));

    // a layer without such a norm gets the weight that comes of it
    const plain = new Sequential(make() as Layer);
    const folded = fromTorch(file, { layer: plain, rename: { fc: '0' } });
    expect([folded.unused, folded.missing]).toEqual([[], []]);
    plain.loadStateDict(folded.state);
    expect(worstDifference(plain.eval().forward(x).data, net.forward(x).data)).toBeLessThan(1e-6);
  });

  test('without the right vector, which early versions did not keep', () => {
    const net = trained();
    const tensors = toTorch(net.stateDict(), { spectralNorm: 'hook' });
    tensors.delete('0.weight_v');
    const plain = new Sequential(make() as Layer);
    plain.loadStateDict(fromTorch(tensors, { layer: plain }).state);
    // v as the next iteration finds it from u
    expect(worstDifference(plain.forward(x).data, net.eval().forward(x).data)).toBeLessThan(1e-6);
    const next = new Sequential(new SpectralNorm(make()));
    expect(fromTorch(tensors, { layer: next }).missing).toEqual(['0.v']);
  });
});

describe('weight norm', () => {
  const shape = [3, 2, 2, 2];
  const v = normals(4, 24);
  const w = (g: number[], axis: number | null) => {
    const place = (i: number) => (axis === null ? 0 : axis === 0 ? Math.floor(i / 8) : Math.floor(i / 4) % 2);
    const squares = g.map((_, c) => v.reduce((sum, value, i) => sum + (place(i) === c ? value * value : 0), 0));
    return v.map((value, i) => (g[place(i)] * value) / Math.sqrt(squares[place(i)]));
  };

  test.each([
    ['by output', [1.5, 2, -1], [3, 1, 1, 1], 0],
    ['by input', [1.5, 2], [1, 2, 1, 1], 1],
    ['of all', [1.5], [], null],
  ] as const)('%s', (_, given, gShape, axis) => {
    const g = { data: Float32Array.from(given), shape: [...gShape] };
    const bias = { data: new Float32Array(3), shape: [3] };
    const expected = w([...given], axis);
    for (const names of [
      ['weight_g', 'weight_v'],
      ['parametrizations.weight.original0', 'parametrizations.weight.original1'],
    ]) {
      const tensors = {
        [`module.0.${names[0]}`]: g,
        [`module.0.${names[1]}`]: { data: v, shape },
        'module.0.bias': bias,
      };
      const { state, unused } = fromTorch(tensors, { layer: new Sequential(new Conv2d(2, 3, 2)) });
      expect(unused).toEqual([]);
      expect(state['0.weight'].shape).toEqual(shape);
      expect(worstDifference(state['0.weight'].data as Float32Array, expected)).toBeLessThan(1e-6);
      expect(fromTorch(tensors).state['0.weight']).toEqual(state['0.weight']);
    }
  });

  test('a length of another shape', () => {
    const tensors = { 'a.weight_g': { data: new Float32Array(2), shape: [2, 1] }, 'a.weight_v': { data: v, shape } };
    expect(errorOf(() => fromTorch(tensors))).toEqual([
      'RangeError',
      'ERR_STATE',
      "fromTorch: 'a.weight_g' expected a shape that agrees with [3, 2, 2, 2], with 1 for any length, got [2, 1]",
    ]);
  });
});

test('vectors that do not fit', () => {
  const tensors = {
    '0.weight_orig': { data: new Float32Array(12), shape: [3, 4] },
    '0.weight_u': { data: new Float32Array(4), shape: [4] },
    '0.weight_v': { data: new Float32Array(3), shape: [3] },
  };
  expect(errorOf(() => fromTorch(tensors, { layer: new Sequential(new Linear(4, 3, { bias: false })) }))).toEqual([
    'RangeError',
    'ERR_STATE',
    "fromTorch: '0.weight_orig' expected a weight with 4 rows and 3 columns, got shape [3, 4]",
  ]);
  expect(errorOf(() => toTorch({}, { spectralNorm: 'old' as never }))).toEqual([
    'RangeError',
    'ERR_OPTION',
    "toTorch: spectralNorm expected 'parametrizations' or 'hook', got 'old'",
  ]);
});
