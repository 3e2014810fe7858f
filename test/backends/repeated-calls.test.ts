// A forward on what the last forward was given is not checked again: only if nothing about it has
// changed.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm,
  BatchNorm2d,
  BatchRenorm,
  BNGRUCell,
  BNLSTMCell,
  Dropout,
  GroupNorm,
  type Layer,
  LayerNorm,
  Linear,
  Tanh,
  type TensorLike,
  tensor,
  zeros,
} from '../../src/index.ts';
import { bitsOf, lopsided, normals, worstDifference } from '../support/data.ts';

const shape = [2, 3, 4, 5];
const size = 120;
const values = () => lopsided(1, shape);

const kinds: [string, (data: Float32Array) => TensorLike][] = [
  ['tensors', (data) => tensor(data, shape)],
  ['arrays', (data) => ({ data, shape: [...shape] })],
];

describe.each(kinds)('on %s', (_, make) => {
  test('the second call gives the bits of the first, in both modes, and sees changed values, parameters and modes', () => {
    const bn = new BatchNorm2d(3);
    const fresh = new BatchNorm2d(3);
    const [x, out] = [make(values()), make(new Float32Array(size))];
    const agree = () => {
      const y = fresh.forward(make(x.data.slice()));
      expect(bn.forward(x, { out })).toBe(out);
      expect(bitsOf(out.data)).toEqual(bitsOf(y.data));
    };
    agree();
    agree();
    x.data[7] = 40;
    agree();
    bn.eval();
    fresh.eval();
    agree();
    agree();
    bn.gamma!.data[1] = fresh.gamma!.data[1] = 3;
    agree();
    bn.train();
    fresh.train();
    agree();
    const dy = make(normals(2, size));
    expect(bitsOf(bn.backward(dy).data)).toEqual(bitsOf(fresh.backward(dy).data));
    expect(bn.batchesTracked).toBe(fresh.batchesTracked);
  });

  test('a residual that comes, changes or goes is noticed', () => {
    const bn = new BatchNorm2d(3).eval();
    const [x, out, first, second] = [values(), new Float32Array(size), normals(3, size), normals(4, size)].map(make);
    const plain = Float32Array.from(bn.forward(x, { out }).data);
    for (const residual of [first, first, second, undefined, first]) {
      bn.forward(x, { out, residual });
      const want = plain.map((value, i) => value + (residual ? residual.data[i] : 0));
      expect(worstDifference(out.data, want)).toBeLessThan(1e-6);
    }
  });

  test('in place it is still refused to go back', () => {
    const bn = new BatchNorm2d(3);
    const x = make(values());
    for (let i = 0; i < 3; i++) {
      bn.forward(x, { out: x });
      expect(() => bn.backward(make(normals(2, size)))).toThrow('wrote over (out: x)');
    }
  });

  test('options are still checked', () => {
    const bn = new BatchNorm2d(3);
    const [x, out] = [make(values()), make(new Float32Array(size))];
    bn.forward(x, { out });
    expect(() => bn.forward(x, { out, residula: x } as object)).toThrow(/'residula'/);
    expect(() => bn.forward(x, null as unknown as object)).toThrow(
      'BatchNorm2d(3): options expected { out, residual, mask, lengths, weights }',
    );
    expect(() => bn.forward(x, out as object)).toThrow();
    bn.forward(x, { out });
  });

  test('one value per channel is still refused in training, and nothing counted', () => {
    const bn = new BatchNorm(2, { onSingleValue: 'throw' });
    const [x, out] = [tensor([1, 2], [1, 2]), zeros([1, 2])];
    bn.eval().forward(x, { out });
    bn.train();
    expect(() => bn.forward(x, { out })).toThrow('training expected at least 2 values per channel');
    expect(bn.batchesTracked).toBe(0);
  });
});

describe.each<[string, () => Layer, number[], number[]]>([
  ['Linear', () => new Linear(4, 3, { seed: 1 }), [5, 4], [5, 3]],
  ['Tanh', () => new Tanh(), [5, 4], [5, 4]],
  ['Dropout', () => new Dropout(0.4, { seed: 2 }), [5, 4], [5, 4]],
  ['LayerNorm', () => new LayerNorm(4, { activation: 'relu' }), [5, 4], [5, 4]],
  ['GroupNorm', () => new GroupNorm(2, 4), [5, 4, 3], [5, 4, 3]],
  ['BatchRenorm', () => new BatchRenorm(4, { rMax: 3, dMax: 5 }), [5, 4], [5, 4]],
  ['BNLSTMCell', () => new BNLSTMCell(4, 3, { maxSteps: 6, seed: 3 }), [2, 6, 4], [2, 6, 3]],
  ['BNGRUCell', () => new BNGRUCell(4, 3, { norm: false, seed: 3 }), [2, 6, 4], [2, 6, 3]],
])('%s', (_, make, given, got) => {
  const sizeOf = (sizes: number[]) => sizes.reduce((a, b) => a * b, 1);

  test.each([true, false])('forward and backward give the bits of calls that are checked, tensors: %s', (isTensor) => {
    const [layer, fresh] = [make(), make()];
    const like = (data: Float32Array, sizes: number[]): TensorLike =>
      isTensor ? tensor(data, sizes) : { data, shape: [...sizes] };
    const x = like(lopsided(1, given), given);
    const out = like(new Float32Array(sizeOf(got)), got);
    for (let call = 0; call < 6; call++) {
      if (call === 2) x.data[3] = 5;
      if (call === 3) for (const one of [layer, fresh]) for (const { data } of one.parameters()) data[0] = 2;
      if (call === 4) for (const one of [layer, fresh]) one.eval();
      const y = fresh.forward(like(x.data.slice(), given));
      expect(layer.forward(x, { out })).toBe(out);
      expect(bitsOf(out.data)).toEqual(bitsOf(y.data));
      const dy = () => like(normals(call + 9, sizeOf(got)), got);
      expect(bitsOf(layer.backward(dy()).data)).toEqual(bitsOf(fresh.backward(dy()).data));
    }
    expect(layer.parameters().map(({ grad }) => bitsOf(grad))).toEqual(
      fresh.parameters().map(({ grad }) => bitsOf(grad)),
    );
    expect(layer.stateDict()).toEqual(fresh.stateDict());
  });

  test('a tensor that was disposed, other options and another shape are noticed', () => {
    const layer = make();
    const [x, out] = [tensor(lopsided(1, given), given), zeros(got)];
    layer.forward(x, { out });
    const state = layer.stateDict();
    expect(() => layer.forward(x, { out, outt: x } as object)).toThrow("'outt'");
    expect(() => layer.forward(x, { out: zeros([7]) })).toThrow('out expected shape');
    x.dispose();
    expect(() => layer.forward(x, { out })).toThrow('x expected a live tensor, got one that was disposed');
    expect(layer.stateDict()).toEqual(state);
    const next = tensor(lopsided(1, given), given);
    layer.forward(next, { out });
    out.dispose();
    expect(() => layer.forward(next, { out })).toThrow('out expected a live tensor, got one that was disposed');
  });

  test('after dispose() backward needs a forward, and the layer works on', () => {
    const layer = make();
    const x = tensor(lopsided(1, given), given);
    const dy = () => tensor(normals(2, sizeOf(got)), got);
    layer.forward(x);
    layer.dispose();
    expect(() => layer.backward(dy())).toThrow('backward expected a forward before it, got none');
    layer.forward(x);
    expect(layer.backward(dy()).data.every(Number.isFinite)).toBe(true);
  });
});

test('disposed tensors are refused the second time', () => {
  const bn = new BatchNorm2d(3);
  for (const which of [0, 1, 2]) {
    const held = [tensor(values(), shape), tensor(values(), shape), zeros(shape)];
    const [x, residual, out] = held;
    bn.forward(x, { residual, out });
    held[which].dispose();
    expect(() => bn.forward(x, { residual, out })).toThrow('expected a live tensor, got one that was disposed');
    expect(bn.batchesTracked).toBe(which + 1);
  }
});

test('arrays whose record or buffer has changed are looked at again', () => {
  const bn = new BatchNorm2d(3).eval();
  const x = { data: values(), shape: [...shape] };
  const out = { data: new Float32Array(size), shape: [...shape] };
  bn.forward(x, { out });
  x.data = x.data.map((value) => value + 1);
  const moved = Float32Array.from(bn.forward(x, { out }).data);
  expect(worstDifference(moved, bn.forward({ data: x.data, shape }).data)).toBe(0);
  out.data = new Float32Array(size);
  bn.forward(x, { out });
  expect(worstDifference(out.data, moved)).toBe(0);
  x.shape[1] = 4;
  expect(() => bn.forward(x, { out })).toThrow(/expected 160 values, got 120/);
  x.shape[1] = 3;
  bn.forward(x, { out });
  structuredClone(x.data, { transfer: [x.data.buffer as ArrayBuffer] });
  expect(() => bn.forward(x, { out })).toThrow(/expected 120 values, got 0/);
});

test('evaluation of plain arrays in pieces gives the bits of evaluation on tensors', () => {
  const shapes: ['channels-first' | 'channels-last', number[]][] = [
    ['channels-first', [1, 2, 700, 701]], // planes longer than a piece
    ['channels-first', [3, 5, 211, 97]], // a few planes to a piece
    ['channels-last', [2, 301, 97, 5]],
    ['channels-last', [2, 1, 1, 300_001]], // rows longer than a piece
  ];
  for (const [layout, large] of shapes) {
    const data = lopsided(3, large, layout);
    const residual = normals(4, data.length);
    const channels = layout === 'channels-first' ? large[1] : large[3];
    const bn = new BatchNorm2d(channels, { layout, activation: 'relu' }).eval();
    bn.gamma!.data.set(normals(5, channels, 1, 0.5));
    bn.beta!.data.set(normals(6, channels));
    const x = tensor(data, large);
    const added = tensor(residual, large);
    const y = bn.forward(x, { residual: added });
    const plain = bn.forward({ data, shape: large }, { residual: { data: residual, shape: large } });
    expect([large, worstDifference(plain.data, y.data)]).toEqual([large, 0]);
    const inPlace = { data: data.slice(), shape: large };
    bn.forward(inPlace, { out: inPlace, residual: { data: residual, shape: large } });
    expect(worstDifference(inPlace.data, plain.data)).toBe(0);
    for (const held of [x, added, y, bn]) held.dispose();
  }
});
