// Calls that fail have changed nothing, and calls that do not belong together give no numbers.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm1d,
  BatchRenorm,
  BNLSTMCell,
  Dropout,
  GroupNorm,
  InstanceNorm1d,
  type Layer,
  LayerNorm,
  Linear,
  ReLU,
  Residual,
  Sequential,
  Tanh,
  type Tensor,
  tensor,
} from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { normals } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';

const batch = (seed: number, shape: number[]) => ({
  data: normals(
    seed,
    shape.reduce((a, b) => a * b, 1),
  ),
  shape,
});
/** What no layer takes. */
const MISFIT = { data: new Float32Array(2), shape: [3] };
const gradients = (layer: Layer) => layer.parameters().map(({ grad }) => grad.slice());

/** Layers with what they need to be built, by name. */
const LAYERS: Record<string, () => Layer> = {
  BatchNorm1d: () => new BatchNorm1d(4),
  'BatchNorm1d, frozen': () => new BatchNorm1d(4).freeze(),
  BatchRenorm: () => new BatchRenorm(4, { rMax: 3, dMax: 5 }),
  GroupNorm: () => new GroupNorm(2, 4),
  LayerNorm: () => new LayerNorm(4),
  Linear: () => new Linear(4, 4, { seed: 1 }),
  Tanh: () => new Tanh(),
  Dropout: () => new Dropout(0.5, { seed: 2 }),
  Sequential: () => new Sequential(new Linear(4, 4, { seed: 3 }), new BatchNorm1d(4), new Dropout(0.5, { seed: 4 })),
  Residual: () => new Residual(new Linear(4, 4, { seed: 5 }), new BatchNorm1d(4), new ReLU()),
};
const each = Object.entries(LAYERS);

describe('micro-batches', () => {
  test.each(each)('a second gradient that does not fit leaves %s as it was', (_, make) => {
    const [layer, twin] = [make(), make()];
    const xs = [batch(1, [3, 4]), batch(2, [5, 4])];
    const dys = [batch(3, [3, 4]), batch(4, [5, 4])];
    for (const one of [layer, twin]) one.forwardMicroBatches(xs);
    expect(errorOf(() => layer.backwardMicroBatches([dys[0], batch(5, [2, 4])]))?.slice(1)).toEqual([
      'ERR_SHAPE',
      `${layer.subject}: dy 1 expected shape [5, 4], got [2, 4]`,
    ]);
    expect(gradients(layer)).toEqual(gradients(twin));
    expect(layer.backwardMicroBatches(dys)).toEqual(twin.backwardMicroBatches(dys));
    expect(gradients(layer)).toEqual(gradients(twin));
    expect(layer.stateDict()).toEqual(twin.stateDict());
  });

  test.each(each)(
    'a second batch that does not fit leaves %s as it was, with what an earlier forward left',
    (_, make) => {
      const [layer, twin] = [make(), make()];
      for (const one of [layer, twin]) one.forward(batch(1, [3, 4]));
      expect(errorOf(() => layer.forwardMicroBatches([batch(2, [3, 4]), MISFIT]))?.[1]).toMatch(/^ERR_SHAPE$/);
      const dy = batch(4, [3, 4]);
      expect(layer.backward(dy)).toEqual(twin.backward(dy));
      expect(layer.stateDict()).toEqual(twin.stateDict());
      expect(layer.forward(batch(5, [3, 4]))).toEqual(twin.forward(batch(5, [3, 4])));
    },
  );

  test("instance norm's statistics and dropout's generator stay where they are", () => {
    const norm = new InstanceNorm1d(2, { trackRunningStats: true });
    const before = norm.stateDict();
    expect(errorOf(() => norm.forwardMicroBatches([batch(1, [2, 2, 3]), batch(2, [2, 3, 3])]))?.[1]).toBe('ERR_SHAPE');
    expect(errorOf(() => norm.forwardMicroBatches([batch(1, [2, 2, 3]), batch(2, [2, 2, 1])]))?.[1]).toBe(
      'ERR_SINGLE_VALUE',
    );
    expect(norm.stateDict()).toEqual(before);
    const [dropout, twin] = [new Dropout(0.5, { seed: 6 }), new Dropout(0.5, { seed: 6 })];
    expect(errorOf(() => dropout.forwardMicroBatches([batch(1, [9]), MISFIT]))?.[1]).toBe('ERR_SHAPE');
    expect(dropout.forward(batch(1, [9]))).toEqual(twin.forward(batch(1, [9])));
  });

  test('a forward that fails leaves those that wait for their gradients', () => {
    const [bn, twin] = [new BatchNorm1d(4), new BatchNorm1d(4)];
    const xs = [batch(1, [3, 4]), batch(2, [5, 4])];
    for (const one of [bn, twin]) one.forwardMicroBatches(xs);
    expect(errorOf(() => bn.forward(batch(3, [1, 4])))?.[1]).toBe('ERR_SINGLE_VALUE');
    expect(errorOf(() => bn.forwardMicroBatches([batch(3, [1, 4])]))).toEqual([
      'RangeError',
      'ERR_SINGLE_VALUE',
      'BatchNorm1d(4): training expected at least 2 values per channel, got 1 (1 micro-batch; eval() takes single values; training does with onSingleValue)',
    ]);
    expect(bn.backwardMicroBatches(xs)).toEqual(twin.backwardMicroBatches(xs));
    expect(gradients(bn)).toEqual(gradients(twin));
  });

  test('in a network, one that fails halfway leaves those that wait, and what an earlier forward left', () => {
    const make = () =>
      new Sequential(new Linear(4, 4, { seed: 7 }), new BatchNorm1d(4), new BatchNorm1d(4, { onNonFinite: 'throw' }));
    const xs = [batch(1, [3, 4]), batch(2, [5, 4])];
    const [net, twin] = [make(), make()];
    for (const one of [net, twin]) one.forwardMicroBatches(xs);
    const poisoned = { data: new Float32Array(8).fill(Number.NaN), shape: [2, 4] };
    expect(errorOf(() => net.forwardMicroBatches([xs[0], poisoned]))?.[1]).toBe('ERR_NON_FINITE');
    expect(net.backwardMicroBatches(xs)).toEqual(twin.backwardMicroBatches(xs));
    for (const one of [net, twin]) one.forward(xs[0]);
    expect(errorOf(() => net.forwardMicroBatches([xs[0], poisoned]))?.[1]).toBe('ERR_NON_FINITE');
    expect(net.backward(xs[0])).toEqual(twin.backward(xs[0]));
    expect(gradients(net)).toEqual(gradients(twin));
    expect(net.stateDict()).toEqual(twin.stateDict());
  });

  test.each(each)('backward of %s behind them asks for a forward of its own', (_, make) => {
    const layer = make();
    layer.forward(batch(1, [3, 4]));
    layer.forwardMicroBatches([batch(2, [3, 4]), batch(3, [3, 4])]);
    expect(errorOf(() => layer.backward(batch(4, [3, 4])))).toEqual([
      'Error',
      'ERR_MODE',
      `${layer.subject}: backward expected a forward before it, got none`,
    ]);
  });

  test.each(each)('a forward of %s in between changes nothing about their gradients', (_, make) => {
    const xs = [batch(1, [3, 4]), batch(2, [5, 4])];
    const [layer, twin] = [make(), make()];
    for (const one of [layer, twin]) one.forwardMicroBatches(xs);
    layer.forward(batch(3, [7, 4]));
    expect(layer.backwardMicroBatches(xs)).toEqual(twin.backwardMicroBatches(xs));
    expect(gradients(layer)).toEqual(gradients(twin));
  });

  test('are run again in the mode in which they were run', () => {
    const [layer, twin] = [new InstanceNorm1d(2), new InstanceNorm1d(2)].map(
      (norm) => new Sequential(norm, new Dropout(0.5, { seed: 8 })),
    );
    const xs = [batch(1, [2, 2, 3]), batch(2, [1, 2, 4])];
    for (const one of [layer, twin]) one.forwardMicroBatches(xs);
    layer.eval();
    expect(layer.backwardMicroBatches(xs)).toEqual(twin.backwardMicroBatches(xs));
    expect(layer.training).toBe(false);
  });

  test.each([
    [null, 'micro-batches expected an array of at least 1, got null'],
    [[], 'micro-batches expected an array of at least 1, got 0'],
    [[null], 'micro-batch 0 expected a Tensor or { data, shape }, got null'],
  ])('what is no list of them is refused: %j', (given, message) => {
    for (const layer of [new Linear(4, 4), new BatchNorm1d(4), new Sequential(), new Residual(new Tanh())]) {
      const [, code, text] = errorOf(() => layer.forwardMicroBatches(given as never))!;
      expect(code).toMatch(/^ERR_(OPTION|TYPE)$/);
      expect(text).toBe(`${layer.subject}: ${message}`);
    }
  });
});

describe('one forward after another', () => {
  test('forward, micro-batches, backward: batch renormalization does not mix their corrections', () => {
    const make = () => new BatchRenorm(2, { rMax: 3, dMax: 5 });
    const [norm, twin] = [make(), make()];
    for (const one of [norm, twin]) for (const seed of [1, 2]) one.forward(batch(seed, [6, 2]));
    norm.forwardMicroBatches([batch(3, [2, 2]), batch(4, [4, 2])]);
    norm.forward(batch(2, [6, 2]));
    twin.forwardMicroBatches([batch(3, [2, 2]), batch(4, [4, 2])]);
    const dys = [batch(5, [2, 2]), batch(6, [4, 2])];
    expect(norm.backwardMicroBatches(dys)).toEqual(twin.backwardMicroBatches(dys));
    expect(gradients(norm)).toEqual(gradients(twin));
  });

  test("a network's output is written over by the next forward, of whatever shape", () => {
    const net = new Sequential(new Linear(2, 2, { seed: 9 }));
    const x = tensor(normals(1, 8), [4, 2]);
    const y = net.forward(x) as Tensor;
    const first = [...y.data];
    const other = net.forward(tensor(normals(2, 4), [2, 2])) as Tensor;
    expect([...y.data].slice(0, 4)).toEqual([...other.data]);
    expect([...net.forward(x).data]).toEqual(first);
  });

  test('shapes beyond the last eight are forgotten, and their outputs say so', () => {
    const net = new Sequential(new Linear(2, 2, { seed: 9 }));
    net.forward(tensor(normals(1, 200), [100, 2]));
    const first = net.forward(tensor(normals(2, 2), [1, 2])) as Tensor;
    for (let rows = 2; rows <= 9; rows++) net.forward(tensor(normals(3, rows * 2), [rows, 2]));
    expect(errorOf(() => first.data)).toEqual([
      'Error',
      'ERR_DISPOSED',
      'Tensor: data expected a live tensor, got one that was disposed (shape [1, 2])',
    ]);
  });
});

describe("a layer's own buffers", () => {
  const make = () => {
    const bn = new BatchNorm1d(3, { activation: 'tanh' });
    const given = (seed: number) => tensor(normals(seed, 12), [4, 3]);
    return { bn, x: given(1), residual: given(2), dy: given(3) };
  };
  /** What a backward gives that has nothing to do with its own buffers. */
  const expected = () => {
    const { bn, x, residual, dy } = make();
    bn.forward(x, { residual });
    return { dx: [...bn.backward(dy).data], dz: [...bn.residualGrad!.data], gradients: gradients(bn) };
  };

  test('dx in the memory of residualGrad: both come out right', () => {
    const { bn, x, residual, dy } = make();
    bn.forward(x, { residual });
    bn.backward(dy);
    bn.zeroGrad();
    bn.forward(x, { residual });
    const out = bn.residualGrad as Tensor;
    const dx = bn.backward(dy, { out });
    const { dx: right, dz, gradients: sums } = expected();
    expect([dx === out, [...dx.data], [...bn.residualGrad!.data]]).toEqual([true, right, dz]);
    expect(gradients(bn)).toEqual(sums);
  });

  test.each(['x', 'residual', 'dy'] as const)('residualGrad as %s', (name) => {
    const { bn, ...given } = make();
    bn.forward(given.x, { residual: given.residual });
    bn.backward(given.dy);
    bn.zeroGrad();
    const held = bn.residualGrad as Tensor;
    held.data.set(given[name].data);
    const { x, residual, dy } = Object.assign({ ...given }, { [name]: held });
    bn.forward(x, { residual });
    const dx = [...bn.backward(dy).data];
    const right = expected();
    expect([dx, [...bn.residualGrad!.data]]).toEqual([right.dx, right.dz]);
    expect(gradients(bn)).toEqual(right.gradients);
  });
});

describe('running out of memory', () => {
  /** Runs work in which the heap gives out so many more blocks. */
  const withBlocks = (blocks: number, work: () => unknown) => {
    const { heap } = backend();
    const { alloc } = heap;
    let calls = 0;
    heap.alloc = (bytes) => {
      if (++calls > blocks) throw Object.assign(new RangeError('no more'), { code: 'ERR_MEMORY' });
      return alloc.call(heap, bytes);
    };
    try {
      work();
      return true;
    } catch (error) {
      expect((error as Error).message).toContain('no more');
      return false;
    } finally {
      heap.alloc = alloc;
    }
  };

  test('anywhere in a backward through a network leaves all gradients as they were', () => {
    const net = new Sequential(
      new Linear(4, 6, { seed: 1 }),
      new BatchNorm1d(6),
      new Tanh(),
      new Residual(new Linear(6, 6, { seed: 2 }), new BatchNorm1d(6)),
      new Linear(6, 3, { seed: 3 }),
    );
    const dy = batch(2, [5, 3]);
    net.forward(batch(1, [5, 4]));
    const before = gradients(net);
    let blocks = 0;
    while (!withBlocks(blocks, () => net.backward(dy))) {
      expect(gradients(net)).toEqual(before);
      blocks++;
    }
    expect(blocks).toBeGreaterThan(5);
    const once = gradients(net);
    expect(once).not.toEqual(before);
    net.backward(dy);
    expect(gradients(net)).toEqual(once.map((grad) => grad.map((value) => value * 2)));
  });

  test('anywhere in compiling a network leaves no block', () => {
    const net = new Sequential(new Linear(4, 6, { seed: 1 }), new Tanh(), new BatchNorm1d(6), new Linear(6, 3)).eval();
    net.forward(batch(1, [5, 4]));
    const { heap } = backend();
    const { blocks } = heap;
    let given = 0;
    while (!withBlocks(given, () => net.compile({ maxBatch: 8 }).dispose())) {
      expect(heap.blocks).toBe(blocks);
      given++;
    }
    expect([given > 3, heap.blocks]).toEqual([true, blocks]);
  });
});

describe('state dicts', () => {
  test('an array that throws halfway leaves all of a layer as it was', () => {
    const bn = new BatchNorm1d(2);
    bn.forward(batch(1, [4, 2]));
    const before = bn.stateDict();
    let looks = 0;
    const data = new Proxy([5, 5], {
      get(target, key) {
        if (key === '1' && ++looks > 1) throw new Error('gone');
        return Reflect.get(target, key);
      },
    });
    const state = { ...before, gamma: { data: Float32Array.of(9, 9), shape: [2] }, runningVar: { data, shape: [2] } };
    bn.loadStateDict(state as never);
    expect([...bn.runningVar!]).toEqual([5, 5]);
    bn.loadStateDict(before);
    expect(() => bn.loadStateDict(state as never)).toThrow('gone');
    expect(bn.stateDict()).toEqual(before);
  });
});

describe('cells', () => {
  test('a sequence that is refused in the middle leaves what an earlier one left', () => {
    const make = () => new BNLSTMCell(2, 3, { maxSteps: 4, onNonFinite: 'throw', seed: 1 });
    const [cell, twin] = [make(), make()];
    for (const one of [cell, twin]) one.forward(batch(1, [3, 4, 2]));
    const bad = batch(2, [3, 4, 2]);
    bad.data[13] = Number.NaN;
    expect(errorOf(() => cell.forward(bad))?.[2]).toMatch(
      /^BNLSTMCell\(2, 3\): x expected finite statistics, got a mean of NaN and a variance of NaN \(channel 0, time step 2\)$/,
    );
    expect(cell.state).toEqual(twin.state);
    const dy = batch(3, [3, 4, 3]);
    expect(cell.backward(dy)).toEqual(twin.backward(dy));
    expect(gradients(cell)).toEqual(gradients(twin));
    expect(cell.stateDict()).toEqual(twin.stateDict());
  });
});
