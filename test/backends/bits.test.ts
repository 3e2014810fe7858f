// The fixed build and the plain loops give the same bits on every machine and every version of
// Node: held by hashes taken once.

import { expect, test } from 'vitest';
import { BatchNorm2d, info, Linear, Random, Sequential } from '../../src/index.ts';
import { bitsOf } from '../support/data.ts';

/** Fowler, Noll & Vo's hash of the bits. */
function hash(...arrays: Float32Array[]): string {
  let h = 0x811c9dc5;
  for (const values of arrays) for (const word of bitsOf(values)) h = Math.imul(h ^ word, 0x01000193);
  return (h >>> 0).toString(16);
}

function uniform(seed: number, length: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length }, () => 4 * random.uniform() - 1);
}

const HASHES = {
  simd: { 'channels-first': '4b5e73d9', 'channels-last': '255f6be9', network: '40d59921' },
  js: { 'channels-first': 'c2919f99', 'channels-last': 'f297337e', network: '5e6a95a5' },
};

const { backend } = info();
const hashes = HASHES[backend as keyof typeof HASHES];

test.each(['channels-first', 'channels-last'] as const)(`batch norm on ${backend}, %s`, (layout) => {
  const shape = layout === 'channels-first' ? [5, 7, 19, 23] : [5, 19, 23, 7];
  const x = { data: uniform(1, 5 * 7 * 19 * 23), shape };
  const bn = new BatchNorm2d(7, { layout, activation: 'relu' });
  bn.gamma!.data.set(uniform(2, 7));
  bn.beta!.data.set(uniform(3, 7));
  const y = bn.forward(x).data;
  const dx = bn.backward({ data: uniform(4, x.data.length), shape }).data;
  const evaluated = bn.eval().forward(x).data;
  expect(hash(y, dx, bn.gamma!.grad, bn.beta!.grad, bn.runningMean!, bn.runningVar!, evaluated)).toBe(hashes[layout]);
});

test(`a compiled network on ${backend}`, () => {
  const net = new Sequential(new Linear(33, 29, { seed: 1 }), new Linear(29, 10, { seed: 2 }));
  const x = { data: uniform(5, 9 * 33), shape: [9, 33] };
  expect(hash(net.forward(x).data, net.compile()(x).data)).toBe(hashes.network);
});
