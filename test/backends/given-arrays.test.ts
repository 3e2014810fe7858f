// Arrays as programs give them: of other realms, with properties that lie or change, over memory
// that is gone.

import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import {
  Adam,
  BatchNorm1d,
  BNLSTMCell,
  batchNorm,
  crossEntropy,
  Linear,
  Sequential,
  SGD,
  tensor,
  zeros,
} from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { errorOf } from '../support/errors.ts';

/** An array of another realm, as Jest and node:vm have them. */
const foreign = (kind: string, values: readonly number[]) => runInNewContext(`${kind}.from([${values.join(',')}])`);

const VALUES = [1, 2, 3, 5, 8, 13];
const X = { data: Float32Array.from(VALUES), shape: [3, 2] };

describe('arrays of another realm', () => {
  const data = foreign('Float32Array', VALUES) as Float32Array;
  const shape = foreign('Array', [3, 2]) as number[];

  test('are what they are elsewhere: layers, tensors, networks, losses, optimizers', () => {
    expect(data instanceof Float32Array).toBe(false);
    const results = [X, { data, shape }].map((x) => {
      const net = new Sequential(new Linear(2, 3, { seed: 1 }), new BatchNorm1d(3));
      const out = { data: new Float32Array(9), shape: [3, 3] };
      net.forward(x, { out });
      const { loss, grad } = crossEntropy(out, foreign('Int32Array', [0, 2, 1]));
      const dx = net.backward(grad);
      const compiled = net.eval().compile();
      const parameters = [{ data, grad: foreign('Float32Array', VALUES), shape, frozen: false }];
      new SGD(parameters, { lr: 0 }).step();
      new Adam(parameters, { lr: 0 }).step();
      const lstm = new BNLSTMCell(2, 1, { norm: false, seed: 2 });
      const state = { h: foreign('Float32Array', [0.5]), c: foreign('Float32Array', [0.25]), step: 0 };
      return [
        loss,
        [...dx.data],
        [...compiled(x).data],
        [...tensor(x.data, x.shape).data],
        [...batchNorm(x, { mean: foreign('Float32Array', [1, 2]), variance: foreign('Array', [3, 4]) }).data],
        [...lstm.forward({ data: x.data, shape: [1, 3, 2] }, { state, lengths: foreign('Uint8Array', [2]) }).data],
      ];
    });
    expect(results[1]).toEqual(results[0]);
  });

  test('may be written to', () => {
    const out = { data: foreign('Float32Array', VALUES) as Float32Array, shape };
    const y = new BatchNorm1d(2).forward(X, { out });
    expect(y).toBe(out);
    expect([...y.data]).toEqual([...new BatchNorm1d(2).forward(X).data]);
  });

  test('of another kind are refused by what they are', () => {
    expect(errorOf(() => new BatchNorm1d(2).forward({ data: foreign('Float64Array', VALUES), shape }))).toEqual([
      'TypeError',
      'ERR_TYPE',
      'BatchNorm1d(2): x.data expected a Float32Array, got Float64Array',
    ]);
  });
});

describe('properties are read once', () => {
  /** A shape that is another one each time it is looked at. */
  const changing = (data: Float32Array, ...shapes: number[][]) => {
    let reads = 0;
    return {
      data,
      get shape() {
        return shapes[Math.min(reads++, shapes.length - 1)];
      },
    };
  };

  test('a shape that changes between two looks is the one that was checked', () => {
    const x = changing(X.data, [3, 2], [300, 2]);
    expect([...new BatchNorm1d(2).forward(x).data]).toEqual([...new BatchNorm1d(2).forward(X).data]);
    const out = changing(new Float32Array(6), [3, 2], [300, 2]);
    new BatchNorm1d(2).forward(X, { out });
    expect([...out.data]).toEqual([...new BatchNorm1d(2).forward(X).data]);
  });

  test('a length that lies reads and writes nothing beyond the array', () => {
    class Long extends Float32Array {
      override get length() {
        return 4096;
      }
    }
    const long = new Long(VALUES);
    const own = Float32Array.from(VALUES);
    Object.defineProperty(own, 'length', { value: 4096 });
    const bystander = zeros([64]);
    for (const data of [long, own]) {
      expect(errorOf(() => new Linear(2048, 1).forward({ data, shape: [2, 2048] }))).toEqual([
        'RangeError',
        'ERR_SHAPE',
        'Linear(2048, 1): x.data expected 4096 values, got 6 (shape [2, 2048])',
      ]);
      expect([...new BatchNorm1d(2).forward({ data, shape: [3, 2] }).data]).toEqual([
        ...new BatchNorm1d(2).forward(X).data,
      ]);
    }
    expect([...bystander.data]).toEqual(new Array(64).fill(0));
    bystander.dispose();
  });

  test('labels are those that were checked', () => {
    let looks = 0;
    const labels = new Proxy([0, 1, 0], {
      get: (target, key) => (key === '0' && ++looks > 1 ? 7 : Reflect.get(target, key)),
    });
    const { loss } = crossEntropy(X, labels);
    expect(loss).toBe(crossEntropy(X, [0, 1, 0]).loss);
  });

  test("a tensor's shape cannot be set", () => {
    const x = tensor(X.data, X.shape);
    expect(() => Object.assign(x, { shape: [300, 2] })).toThrow(TypeError);
    expect(x.shape).toEqual([3, 2]);
    x.dispose();
  });
});

describe('views of a tensor that was disposed', () => {
  const disposedError = (subject: string, argument: string) => [
    'Error',
    'ERR_DISPOSED',
    `${subject}: ${argument} expected a live tensor, got one that was disposed (shape [3, 2])`,
  ];

  test('are refused as input and as output, whoever has the memory now', () => {
    const x = tensor(X.data, X.shape);
    const { data } = x;
    x.dispose();
    const owner = zeros([3, 2]); // lies where x lay
    const bn = new BatchNorm1d(2);
    expect(errorOf(() => bn.forward({ data, shape: [3, 2] }))).toEqual(disposedError('BatchNorm1d(2)', 'x'));
    expect(errorOf(() => bn.forward(X, { out: { data, shape: [3, 2] } }))).toEqual(
      disposedError('BatchNorm1d(2)', 'out'),
    );
    expect([...owner.data]).toEqual([0, 0, 0, 0, 0, 0]);
    owner.dispose();
  });

  test('parts of one as well, as long as the memory is free', () => {
    const x = tensor(X.data, X.shape);
    const data = x.data.subarray(0);
    x.dispose();
    expect(errorOf(() => new BatchNorm1d(2).forward({ data, shape: [3, 2] }))).toEqual(
      disposedError('BatchNorm1d(2)', 'x'),
    );
  });

  test('of a live one are good, and growth in between does not matter', () => {
    const x = tensor(X.data, X.shape);
    const out = zeros([3, 2]);
    const held = { data: out.data, shape: [3, 2] };
    const bn = new BatchNorm1d(2);
    const expected = [...bn.forward(X).data];
    bn.forward({ data: x.data, shape: [3, 2] }, { out: held });
    expect([...out.data]).toEqual(expected);
    const before = backend().heap.size;
    const large = zeros([before / 4 + 1]);
    expect([...bn.forward({ data: x.data, shape: [3, 2] }).data]).toEqual(expected);
    for (const one of [x, out, large]) one.dispose();
  });
});

test('an array that was given away has no values', () => {
  const data = Float32Array.from(VALUES);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  expect(errorOf(() => new BatchNorm1d(2).forward({ data, shape: [3, 2] }))).toEqual([
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm1d(2): x.data expected 6 values, got 0 (shape [3, 2])',
  ]);
});
