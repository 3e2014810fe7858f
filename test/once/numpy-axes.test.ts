// Arrays in Fortran's order, of few axes and of very many.

import { expect, test } from 'vitest';
import { readNpy } from '../../src/weights/index.ts';

/** An NPY file of float32 in Fortran's order. */
function fortran(shape: readonly number[], values: readonly number[]): Uint8Array {
  const text = `{'descr': '<f4', 'fortran_order': True, 'shape': (${shape.join(',')},), }`;
  const header = new TextEncoder().encode(`${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`);
  const start = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8];
  return Uint8Array.from([...start, ...header, ...new Uint8Array(Float32Array.from(values).buffer)]);
}

/** The value at each index is its digits: 102 at [1, 0, 2]. */
function digits(shape: readonly number[]): { first: number[]; last: number[] } {
  const count = shape.reduce((product, length) => product * length, 1);
  const value = (place: number, order: readonly number[]) => {
    let rest = place;
    const index = shape.map(() => 0);
    for (const axis of order) {
      index[axis] = rest % shape[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    return Number(index.join(''));
  };
  const axes = shape.map((_, axis) => axis);
  const list = (order: readonly number[]) => Array.from({ length: count }, (_, place) => value(place, order));
  return { first: list(axes), last: list([...axes].reverse()) };
}

test.each([[[3, 4]], [[2, 3, 4]], [[1, 5, 1, 2]], [[7]], [[1, 1]], [[0, 3]]])('%j comes out row by row', (shape) => {
  const { first, last } = digits(shape);
  expect([...readNpy(fortran(shape, first)).data]).toEqual(last);
});

test('thousands of axes of length 1 cost nothing', () => {
  const shape = [2, ...Array.from({ length: 8000 }, () => 1), 20_000];
  const values = Array.from({ length: 40_000 }, (_, i) => i);
  const before = process.cpuUsage().user;
  const { data } = readNpy(fortran(shape, values));
  expect([data[1], data[19_999], data[20_000]]).toEqual([2, 39_998, 1]);
  expect((process.cpuUsage().user - before) / 1e6).toBeLessThan(2);
});
