import { describe, expect, test } from 'vitest';
import {
  BatchNorm1d,
  BatchNorm2d,
  crossEntropy,
  info,
  Linear,
  Sequential,
  SGD,
  Tanh,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { Heap } from '../../src/wasm/memory.ts';
import { normals } from '../support/data.ts';

const ROUNDS = 100_000;

describe('linear memory stays flat', () => {
  test(`${ROUNDS} forward and backward calls on plain arrays`, () => {
    const bn = new BatchNorm2d(3, { activation: 'relu' });
    const sizes = [1, 2, 3, 5, 8].map((n) => {
      const shape = [n, 3, 2, 3];
      return { x: { data: normals(n, n * 18), shape }, dy: { data: normals(n + 9, n * 18), shape } };
    });
    const round = (i: number) => {
      const { x, dy } = sizes[i % 5];
      bn.forward(x);
      bn.backward(dy);
      if (i % 100 === 0) bn.zeroGrad();
    };
    for (let i = 0; i < 100; i++) round(i);
    const [memory, blocks] = [info().memory, backend().heap.blocks];
    for (let i = 0; i < ROUNDS; i++) round(i);
    expect(info().memory).toBe(memory);
    expect(backend().heap.blocks).toBe(blocks);
  });

  test.each(['tensors', 'plain arrays'])(`${ROUNDS} training steps of a small network on %s`, (kind) => {
    const net = new Sequential(
      new Linear(4, 8, { seed: 1 }),
      new BatchNorm1d(8),
      new Tanh(),
      new Linear(8, 3, { seed: 2 }),
    );
    const optimizer = new SGD(net.parameters(), { lr: 0.01, momentum: 0.9 });
    const values = normals(1, 24);
    const x = kind === 'tensors' ? tensor(values, [6, 4]) : { data: values, shape: [6, 4] };
    const labels = [0, 1, 2, 0, 1, 2];
    const round = () => {
      const { grad } = crossEntropy(net.forward(x), labels);
      net.zeroGrad();
      net.backward(grad);
      optimizer.step();
    };
    round();
    const [memory, blocks] = [info().memory, backend().heap.blocks];
    for (let i = 0; i < ROUNDS; i++) round();
    expect(info().memory).toBe(memory);
    expect(backend().heap.blocks).toBe(blocks);
    net.dispose();
  });

  test('a second pass over the same shapes, tensors disposed, adds nothing', () => {
    const bn = new BatchNorm2d(4);
    const pass = () => {
      for (let n = 1; n < 60; n += 7) {
        using x = zeros([n, 4, 9, 9]);
        using y = bn.forward(x);
        using dx = bn.backward(y);
        expect(dx.shape).toEqual([n, 4, 9, 9]);
      }
    };
    pass();
    const { memory } = info();
    pass();
    expect(info().memory).toBe(memory);
  });
});

describe('tensors', () => {
  test('data is good after memory has grown between two reads', () => {
    const x = tensor([1, 2, 3, 4], [2, 2]);
    const held = x.data;
    const { memory } = info();
    const large = zeros([memory / 4 + 1000]);
    expect(info().memory).toBeGreaterThan(memory);
    expect([...x.data]).toEqual([1, 2, 3, 4]);
    x.data[0] = 9;
    expect(x.data[0]).toBe(9);
    expect(held.length).toBe(0); // the view died, the tensor did not
    large.dispose();
    x.dispose();
  });

  test('memory that grows in the middle of a call, between its inputs, harms nothing', () => {
    const bn = new BatchNorm1d(2);
    const expected = bn.forward({ data: Float32Array.of(1, 2, 3, 5), shape: [2, 2] }).data;
    const x = tensor([1, 2, 3, 5], [2, 2]);
    const { memory } = info();
    const y = bn.forward(x, { residual: zeros([2, 2]) });
    expect(Float32Array.from(y.data)).toEqual(expected);
    const rows = memory / 8;
    const tall = bn.forward({ data: new Float32Array(rows * 2), shape: [rows, 2] });
    expect(tall.data.length).toBe(rows * 2);
    expect(Float32Array.from(y.data)).toEqual(expected);
  });

  test('dispose may come twice; using disposes', () => {
    const blocks = backend().heap.blocks;
    const x = zeros([3]);
    x.dispose();
    x.dispose();
    {
      using y = zeros([3]);
      expect(y.disposed).toBe(false);
    }
    expect(backend().heap.blocks).toBe(blocks);
  });

  test('tidy disposes what was made inside, but for what it returns', () => {
    const blocks = backend().heap.blocks;
    const bn = new BatchNorm1d(2);
    let inner: Tensor | undefined;
    const { kept, list } = tidy(() => {
      const x = tensor([1, 2, 3, 4], [2, 2]);
      inner = bn.forward(x);
      return { kept: bn.forward(x), list: [zeros([2])] };
    });
    expect(inner!.disposed).toBe(true);
    expect(kept.disposed).toBe(false);
    expect(list[0].disposed).toBe(false);
    kept.dispose();
    list[0].dispose();
    bn.dispose();
    expect(backend().heap.blocks).toBe(blocks);
  });

  test('tidy disposes after an error too, and an outer tidy takes what an inner one returned', () => {
    const blocks = backend().heap.blocks;
    expect(() =>
      tidy(() => {
        zeros([2]);
        throw new Error('stop');
      }),
    ).toThrow('stop');
    tidy(() => {
      const kept = tidy(() => zeros([2]));
      expect(kept.disposed).toBe(false);
    });
    expect(backend().heap.blocks).toBe(blocks);
  });

  test('shape is a copy and cannot be changed', () => {
    const shape = [2, 2];
    const x = zeros(shape);
    shape[0] = 9;
    expect(x.shape).toEqual([2, 2]);
    expect(Object.isFrozen(x.shape)).toBe(true);
    x.dispose();
  });
});

describe('the heap', () => {
  const heapOf = (limit: number) => {
    let buffer = new ArrayBuffer(65536);
    return new Heap({
      buffer,
      grow(bytes) {
        if (buffer.byteLength + bytes > limit) throw new RangeError('no more');
        buffer = new ArrayBuffer(buffer.byteLength + bytes);
        return buffer;
      },
      limit,
    });
  };

  test('blocks lie on cache lines, apart from one another, and never at 0', () => {
    const heap = heapOf(2 ** 26);
    const live = new Map<number, number>();
    let seed = 1;
    for (let i = 0; i < 3000; i++) {
      seed = (seed * 16807) % 2147483647;
      if (seed % 3 === 0 && live.size) {
        const [ptr] = live.keys();
        heap.free(ptr);
        live.delete(ptr);
      } else if (live.size < 60) {
        const bytes = seed % 5000;
        const ptr = heap.alloc(bytes);
        expect(ptr % 64).toBe(0);
        expect(ptr).toBeGreaterThan(0);
        for (const [other, size] of live)
          expect(ptr + Math.max(bytes, 1) <= other || other + Math.max(size, 1) <= ptr).toBe(true);
        live.set(ptr, bytes);
      }
    }
    for (const ptr of live.keys()) heap.free(ptr);
    expect(heap.blocks).toBe(0);
    const { size } = heap;
    heap.free(heap.alloc(size - 64)); // all of it is one free block again
    expect(heap.size).toBe(size);
  });

  test('running out names the remedy, and leaves what there is', () => {
    const heap = heapOf(2 ** 21);
    const ptr = heap.alloc(1000);
    expect(() => heap.alloc(2 ** 22)).toThrow(
      `memory: a request expected at most ${2 ** 21 - 64 - 1024} bytes more, got ${2 ** 22} bytes (1 blocks in use; dispose() of tensors, tidy(() => …) or smaller batches free memory)`,
    );
    heap.alloc(2 ** 20);
    heap.free(ptr);
    expect(heap.blocks).toBe(1);
  });
});

test('an allocation that fails changes nothing', () => {
  const bn = new BatchNorm1d(2);
  bn.forward({ data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] });
  const before = bn.stateDict();
  const { heap } = backend();
  const { alloc } = heap;
  const x = tensor([1, 2, 3, 4], [2, 2]);
  const { blocks } = heap;
  heap.alloc = () => {
    throw new RangeError('no more');
  };
  try {
    expect(() => bn.forward(x)).toThrow('no more');
    expect(() => bn.backward({ data: new Float32Array(4), shape: [2, 2] })).toThrow('no more');
  } finally {
    heap.alloc = alloc;
  }
  expect(bn.stateDict()).toEqual(before);
  expect([...bn.gamma!.grad]).toEqual([0, 0]);
  expect(heap.blocks).toBe(blocks);
});
