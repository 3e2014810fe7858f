import { describe, expect, test } from 'vitest';
import {
  ActivationLayer,
  adapt,
  BatchNorm1d,
  BNLSTMCell,
  crossEntropy,
  Dropout,
  diagnose,
  Graph,
  GroupNorm,
  info,
  type Layer,
  LayerNorm,
  Linear,
  populationStatistics,
  Random,
  ReLU,
  Residual,
  recalibrate,
  Sequential,
  SGD,
  Sigmoid,
  Tanh,
  Tensor,
  type TensorLike,
  tensor,
  type Value,
} from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { fromTorch, toTorch } from '../../src/weights/index.ts';
import { normals } from '../support/data.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';
import { type Array64, type Build, Reference } from '../support/reference-graph.ts';

type Shapes = Record<string, (number | null)[]>;
type Plain = { data: Float32Array; shape: readonly number[] };

const batch = (seed: number, shape: readonly number[]): Plain => ({
  data: normals(
    seed,
    shape.reduce((a, b) => a * b, 1),
    0.4,
  ),
  shape,
});

/** Graphs within graphs, by what built them. */
const builds = new Map<Layer, Build>();
function nested(shapes: Shapes, build: Build): Graph {
  const graph = new Graph(shapes, build);
  builds.set(graph, build);
  return graph;
}

const linear = (a: number, b: number, seed: number) => new Linear(a, b, { seed });
/** Before batch norm, where a bias has gradient 0. */
const unbiased = (a: number, b: number, seed: number) => new Linear(a, b, { seed, bias: false });
const norm = (channels: number) => {
  const bn = new BatchNorm1d(channels);
  bn.gamma!.data.forEach((_, c, data) => {
    data[c] = 1.5 - c * 0.4;
  });
  bn.beta!.data.forEach((_, c, data) => {
    data[c] = 0.1 * c - 0.2;
  });
  return bn;
};

/** Every call makes layers of its own. */
const CASES: Record<string, { shapes: Record<string, number[]>; make: () => Build }> = {
  'a chain': {
    shapes: { x: [5, 6] },
    make: () => {
      const [fc, bn, act, out] = [unbiased(6, 4, 1), norm(4), new Tanh(), linear(4, 3, 2)];
      return (g, { x }) => g.apply('fc2', out, g.apply('act', act, g.apply('bn', bn, g.apply('fc', fc, x))));
    },
  },
  'a residual, and a value that three use': {
    shapes: { x: [6, 4] },
    make: () => {
      const [a, b, c, bn] = [linear(4, 4, 1), linear(4, 4, 2), linear(4, 4, 3), norm(4)];
      return (g, { x }) => {
        const h = g.apply('a', a, x);
        const n = g.apply('bn', bn, h);
        return g.add(g.add(g.apply('b', b, n), h), g.multiply(g.apply('c', c, h), n));
      };
    },
  },
  'a value added to itself and multiplied by itself': {
    shapes: { x: [3, 4] },
    make: () => {
      const [a, b] = [linear(4, 4, 1), new Sigmoid()];
      return (g, { x }) => {
        const h = g.apply('a', a, x);
        return g.multiply(g.apply('b', b, g.add(h, h)), g.multiply(h, h));
      };
    },
  },
  'gates of one value for each channel and sample (squeeze and excite)': {
    shapes: { x: [4, 3, 5], s: [4, 3, 1] },
    make: () => {
      const [bn, gate] = [norm(3), new Sigmoid()];
      return (g, { x, s }) => g.multiply(g.apply('bn', bn, x), g.apply('gate', gate, s));
    },
  },
  'sums that broadcast on both sides, along axes that are missing': {
    // [N, 5] meets [N, 3, 5] only where N is 3 or 1
    shapes: { a: [3, 1, 5], b: [3, 3, 1], c: [3, 5] },
    make:
      () =>
      (g, { a, b, c }) =>
        g.add(g.multiply(g.add(a, b), c), b),
  },
  'concatenation along three axes': {
    shapes: { a: [2, 3, 4], b: [2, 1, 4] },
    make: () => {
      const [act, fc] = [new Tanh(), linear(8, 3, 5)];
      return (g, { a, b }) => {
        const h = g.concat([g.apply('act', act, a), b, a], 1);
        return g.apply('fc', fc, g.concat([h, g.concat([h], -3)], -1));
      };
    },
  },
  'several outputs, one of which goes on': {
    shapes: { x: [5, 4], y: [5, 2] },
    make: () => {
      const [a, b, c] = [linear(4, 3, 1), linear(2, 3, 2), linear(3, 2, 3)];
      return (g, { x, y }) => {
        const h = g.add(g.apply('a', a, x), g.apply('b', b, y));
        return { hidden: h, out: g.apply('c', c, h), twice: h };
      };
    },
  },
  'a graph of which one output and one gradient are used': {
    shapes: { x: [4, 3] },
    make: () => {
      const inner = nested(
        { a: [3], b: [3] },
        (() => {
          const [p, q] = [linear(3, 3, 6), linear(3, 2, 7)];
          return (g: Parameters<Build>[0], { a, b }: Record<string, Value>) => ({
            kept: g.multiply(g.apply('p', p, a), a),
            lost: g.apply('q', q, b),
          });
        })(),
      );
      const [act, fc] = [new Tanh(), linear(3, 3, 2)];
      return (g, { x }) => {
        const { kept } = g.apply('inner', inner as never, { a: x, b: g.apply('fc', fc, x) }) as never as {
          kept: Value;
        };
        return g.apply('act', act, kept);
      };
    },
  },
  'graphs within graphs, Sequential and Residual': {
    shapes: { x: [5, 4], y: [5, 4] },
    make: () => {
      const cut = nested(
        { a: [4], b: [4] },
        (() => {
          const [p, q] = [linear(4, 3, 6), linear(4, 3, 7)];
          return (g: Parameters<Build>[0], { a, b }: Record<string, Value>) => {
            const h = g.apply('p', p, a);
            return { sum: g.add(h, g.apply('q', q, b)), product: g.multiply(h, h) };
          };
        })(),
      );
      const plain = nested(
        { v: [3] },
        (() => {
          const [p, act] = [linear(3, 3, 8), new Tanh()];
          return (g: Parameters<Build>[0], { v }: Record<string, Value>) =>
            g.multiply(g.apply('p', p, v), g.apply('act', act, v));
        })(),
      );
      const chain = new Sequential(linear(3, 3, 1), plain, new Residual(unbiased(3, 3, 2), norm(3)));
      return (g, { x, y }) => {
        const { sum, product } = g.apply('cut', cut as never, { a: x, b: y }) as never as Record<string, Value>;
        return g.concat([g.apply('chain', chain, sum), product, x], 1);
      };
    },
  },
};

function toTensors(given: Record<string, Plain>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(given).map(([name, { data, shape }]) => [name, tensor(data, shape)]));
}

const recordOf = <T>(names: readonly string[], list: T | Record<string, T>): Record<string, T> =>
  names.length === 1 && !(names[0] in (list as object)) ? { [names[0]]: list as T } : (list as Record<string, T>);

describe.each(Object.entries(CASES))('%s', (_, { shapes, make }) => {
  const open = Object.fromEntries(Object.entries(shapes).map(([key, shape]) => [key, shape.slice(1)]));
  const inputs = Object.fromEntries(Object.entries(shapes).map(([key, shape], i) => [key, batch(i + 1, shape)]));

  test.each(['arrays', 'tensors'])('forward and gradients, on %s', (kind) => {
    const build = make();
    const net = new Graph(open as Shapes, build);
    const names = net.outputs.map((port) => port.name);
    const given = kind === 'tensors' ? toTensors(inputs) : inputs;
    const values = new Map<Float32Array, ArrayLike<number>>();
    const reference = (changed: Record<string, ArrayLike<number>> = {}) => {
      const run = new Reference((data) => values.get(data) ?? data, builds);
      const x = Object.fromEntries(
        Object.entries(inputs).map(([key, { data, shape }]) => [
          key,
          { data: Float64Array.from(changed[key] ?? data), shape },
        ]),
      );
      return recordOf<Array64>(names, build(run as never, x));
    };
    const expected = reference();
    const forward = () => recordOf<TensorLike>(names, net.forward(given as never) as never);
    const ys = forward();
    const dys: Record<string, Plain> = {};
    names.forEach((key, i) => {
      expect((ys[key] as Plain).shape).toEqual(expected[key].shape);
      expectClose(ys[key].data, expected[key].data, 3e-6);
      dys[key] = batch(20 + i, expected[key].shape);
    });
    const loss = (changed?: Record<string, ArrayLike<number>>) => {
      const found = reference(changed);
      return names.reduce((sum, key) => sum + dot(found[key].data, dys[key].data), 0);
    };
    const gradients = kind === 'tensors' ? toTensors(dys) : dys;
    const dxs = recordOf<TensorLike>(Object.keys(inputs), net.backward(gradients as never) as never);
    for (const key in inputs) {
      expect((dxs[key] as Plain).shape).toEqual(inputs[key].shape);
      expectClose(
        dxs[key].data,
        centralDifferences(inputs[key].data, (v) => loss({ [key]: v })),
        2e-5,
      );
      expect(dxs[key] instanceof Tensor).toBe(kind === 'tensors');
    }
    for (const { data, grad } of net.parameters()) {
      const slope = centralDifferences(data, (v) => {
        values.set(data, v);
        return loss();
      });
      values.delete(data);
      expectClose(grad, slope, 2e-5);
    }
    // the same again adds the same, bit for bit
    const [once, dx] = [net.parameters().map(({ grad }) => grad.slice()), copies(dxs)];
    net.zeroGrad();
    forward();
    const again = recordOf<TensorLike>(Object.keys(inputs), net.backward(gradients as never) as never);
    expect(net.parameters().map(({ grad }) => grad)).toEqual(once);
    expect(copies(again)).toEqual(dx);
    // without the gradients of inputs parameters get the same
    net.zeroGrad();
    expect(net.backward(gradients as never, { inputGradient: false })).toBeUndefined();
    expect(net.parameters().map(({ grad }) => grad)).toEqual(once);
  });

  test('micro-batches of one are the batch', () => {
    const [net, twin] = [new Graph(open as Shapes, make()), new Graph(open as Shapes, make())];
    const names = net.outputs.map((port) => port.name);
    const ys = recordOf<TensorLike>(names, net.forward(inputs as never) as never);
    const [micro] = twin.forwardMicroBatches([inputs as never]) as never as [Record<string, TensorLike>];
    expect(copies(recordOf(names, micro as never))).toEqual(copies(ys));
    const dys = Object.fromEntries(names.map((key, i) => [key, batch(30 + i, (ys[key] as Plain).shape)]));
    const dxs = copies(recordOf<TensorLike>(Object.keys(inputs), net.backward(dys as never) as never));
    const [back] = twin.backwardMicroBatches([dys as never]) as never as [Record<string, TensorLike>];
    for (const [key, dx] of Object.entries(copies(back))) expectClose(dx, Float64Array.from(dxs[key]), 1e-6);
    twin.parameters().forEach(({ grad }, i) => {
      expectClose(grad, Float64Array.from(net.parameters()[i].grad), 1e-5);
    });
  });

  test('training takes no memory after the first step', () => {
    const net = new Graph(open as Shapes, make());
    for (const given of [inputs, toTensors(inputs)]) {
      let gradients: unknown;
      const step = () => {
        const y = net.forward(given as never) as never;
        gradients ??= Object.fromEntries(
          net.outputs.map(({ name: key }) => [key, batch(5, (recordOf<Plain>([key], y)[key] as Plain).shape)]),
        );
        net.backward(gradients as never);
      };
      step();
      const [memory, blocks] = [info().memory, backend().heap.blocks];
      for (let k = 0; k < 20; k++) step();
      expect([info().memory, backend().heap.blocks]).toEqual([memory, blocks]);
    }
    const { blocks } = backend().heap;
    net.dispose();
    expect(backend().heap.blocks).toBeLessThan(blocks);
  });
});

function copies(record: Record<string, TensorLike>): Record<string, Float32Array> {
  return Object.fromEntries(Object.entries(record).map(([key, { data }]) => [key, data.slice()]));
}

/**
 * A graph of layers that write over dy, of layers that do not, and of operations, on values of one
 * width.
 */
function anyGraph(seed: number): { shapes: Record<string, number[]>; build: Build } {
  const random = new Random(seed);
  const pick = (below: number) => Math.floor(random.uniform() * below);
  const width = 3;
  const shapes: Record<string, number[]> = { x: [4, width] };
  for (let i = pick(3); i > 0; i--) shapes[`x${i}`] = [pick(2) ? 4 : 1, width];
  const inputs = Object.keys(shapes).length;
  // what is applied to which values: decided once, for the graph and for its formulas
  const steps = Array.from({ length: 3 + pick(8) }, (_, k) => {
    const known = inputs + k;
    const layers = [
      () => linear(width, width, pick(99)),
      () => new Tanh(),
      () => new ActivationLayer('gelu'),
      () => new Sigmoid(),
      () => new Residual(linear(width, width, pick(99)), new Tanh()),
      () => new Sequential(new Tanh(), linear(width, width, pick(99))),
    ];
    const kind = pick(10);
    // late values are used most, and every one of them in the end
    const from = () => Math.max(pick(known), pick(known));
    return { layer: kind < 6 ? layers[kind]() : undefined, kind, a: from(), b: from() };
  });
  const used = new Set(steps.flatMap(({ layer, a, b }) => (layer ? [a] : [a, b])));
  return {
    shapes,
    build: (g, given) => {
      const values = Object.values(given) as Value[];
      steps.forEach(({ layer, kind, a, b }, k) => {
        const [p, q] = [values[a], values[b]];
        if (layer) values.push(g.apply(`l${k}`, layer, p));
        else values.push(kind < 9 ? g.add(p, q) : g.multiply(p, q));
      });
      const outputs: Record<string, Value> = {};
      // an input that nobody else uses goes out with the last value
      let last = values[values.length - 1];
      for (let i = 0; i < inputs; i++) if (!used.has(i)) last = g.add(last, values[i]);
      for (let i = inputs; i < values.length - 1; i++) if (!used.has(i) || i % 4 === 0) outputs[`v${i}`] = values[i];
      outputs.last = last;
      return outputs;
    },
  };
}

test.each(Array.from({ length: 60 }, (_, seed) => seed))('any graph has the gradients of its formulas: %d', (seed) => {
  const { shapes, build } = anyGraph(seed);
  const net = new Graph(Object.fromEntries(Object.entries(shapes).map(([key, [, ...row]]) => [key, row])), build);
  const inputs = Object.fromEntries(Object.entries(shapes).map(([key, shape], i) => [key, batch(seed + i, shape)]));
  const names = net.outputs.map((port) => port.name);
  const given = seed % 2 ? toTensors(inputs) : inputs;
  const ys = recordOf<TensorLike>(names, net.forward(given as never) as never);
  // one in three outputs is given no gradient
  const dys: Record<string, Plain> = {};
  names.forEach((key, i) => {
    if (i % 3 !== 1) dys[key] = batch(90 + seed + i, (ys[key] as Plain).shape);
  });
  const gradients = seed % 2 ? toTensors(dys) : dys;
  const dxs = copies(recordOf<TensorLike>(Object.keys(inputs), net.backward(gradients as never) as never));
  const twice = copies(recordOf<TensorLike>(Object.keys(inputs), net.backward(gradients as never) as never));
  expect(twice).toEqual(dxs);
  const loss = (changed: Record<string, ArrayLike<number>>) => {
    const x = Object.fromEntries(
      Object.entries(inputs).map(([key, { data, shape }]) => [
        key,
        { data: Float64Array.from(changed[key] ?? data), shape },
      ]),
    );
    const found = recordOf<Array64>(names, build(new Reference((data) => data, builds) as never, x));
    return Object.keys(dys).reduce((sum, key) => sum + dot(found[key].data, dys[key].data), 0);
  };
  for (const key in inputs) {
    const slopes = centralDifferences(inputs[key].data, (v) => loss({ [key]: v }));
    expectClose(dxs[key], slopes, 2e-4);
  }
});

describe('chains are Sequential and Residual, bit for bit', () => {
  const layers = () => [linear(6, 8, 1), norm(8), new ReLU(), new Dropout(0.3, { seed: 4 }), linear(8, 3, 2)] as const;
  const x = batch(1, [7, 6]);
  const dy = batch(2, [7, 3]);

  test.each(['arrays', 'tensors'])('Sequential, on %s', (kind) => {
    const given = ({ data, shape }: Plain) => (kind === 'tensors' ? tensor(data, shape) : { data, shape });
    const chain = new Sequential(...layers());
    const net = new Graph({ x: [6] }, (g, { x: first }) =>
      layers().reduce<Value>((value, layer, i) => g.apply(`layer${i}`, layer, value), first),
    );
    for (let step = 0; step < 3; step++) {
      expect(net.forward(given(x)).data).toEqual(chain.forward(given(x)).data);
      expect(net.backward(given(dy)).data).toEqual(chain.backward(given(dy)).data);
      expect(net.parameters().map(({ grad }) => grad)).toEqual(chain.parameters().map(({ grad }) => grad));
    }
    expect(Object.values(net.stateDict())).toEqual(Object.values(chain.stateDict()));
  });

  test('Residual', () => {
    const inner = () => [linear(3, 3, 3), norm(3), new Tanh()] as const;
    const block = new Residual(...inner());
    const net = new Graph({ x: [3] }, (g, { x: first }) =>
      g.add(
        inner().reduce<Value>((value, layer, i) => g.apply(`${i}`, layer, value), first),
        first,
      ),
    );
    expect(net.forward(dy).data).toEqual(block.forward(dy).data);
    expect(net.backward(batch(3, [7, 3])).data).toEqual(block.backward(batch(3, [7, 3])).data);
    expect(Object.keys(net.stateDict())).toEqual(Object.keys(block.stateDict()));
  });
});

const small = () =>
  new Graph({ x: [16] }, (g, { x }) => {
    const h = g.apply('fc1', new Linear(16, 16, { seed: 1 }), x);
    const n = g.apply('bn1', new BatchNorm1d(16), h);
    const r = g.apply('act1', new ReLU(), g.add(n, x));
    return g.apply('fc2', new Linear(16, 4, { seed: 2 }), r);
  });

const two = () =>
  new Graph({ a: [2], b: [3] }, (g, { a, b }) => {
    const h = g.concat([a, b], 1);
    return { sum: g.apply('fc', new Linear(5, 2, { seed: 1 }), h), gate: g.apply('gate', new Sigmoid(), h) };
  });

describe('a graph', () => {
  test("takes PyTorch's names", () => {
    const net = small();
    const state = net.stateDict();
    const torch = toTorch(state);
    expect([...torch.keys()]).toContain('bn1.running_mean');
    net.loadStateDict(fromTorch(torch as never, { layer: net }).state);
    expect(net.stateDict()).toEqual(state);
  });

  test('names its layers, its ports and its state', () => {
    const net = small();
    expect(net.inputs).toEqual([{ name: 'x', shape: [null, 16] }]);
    expect(net.outputs).toEqual([{ name: 'output', shape: [null, 4] }]);
    expect([...net.layers.keys()]).toEqual(['fc1', 'bn1', 'act1', 'fc2']);
    expect(net.layers.get('bn1')).toBeInstanceOf(BatchNorm1d);
    expect(Object.keys(net.stateDict()).slice(0, 3)).toEqual(['fc1.weight', 'fc1.bias', 'bn1.gamma']);
    const other = small();
    net.forward(batch(1, [4, 16]));
    other.loadStateDict(net.stateDict());
    expect(other.stateDict()).toEqual(net.stateDict());
    expect(net.outputShape([8, 16])).toEqual([8, 4]);
    expect(net.outputShape([null, 16])).toEqual([null, 4]);
    expect(two().outputShape({ a: [3, 2], b: [3, 3] })).toEqual({ sum: [3, 2], gate: [3, 5] });
  });

  test('names with dots nest as those of a state dict do', () => {
    const inner = small();
    const net = new Graph({ x: [16] }, (g, { x }) => g.apply('head.fc', linear(4, 2, 1), g.apply('body.0', inner, x)));
    expect(Object.keys(net.stateDict())).toContain('body.0.fc1.weight');
    expect(Object.keys(net.stateDict())).toContain('head.fc.bias');
  });

  test('lengths that are not known may be any', () => {
    const net = new Graph({ x: [null, 4], y: [null, 4] }, (g, { x, y }) =>
      g.concat([g.apply('fc', linear(4, 4, 1), x), y], 1),
    );
    expect(net.outputs).toEqual([{ name: 'output', shape: [null, null, 4] }]);
    const y = net.forward({ x: batch(1, [2, 3, 4]), y: batch(2, [2, 5, 4]) });
    expect(y.shape).toEqual([2, 8, 4]);
  });

  test('inputs and outputs are bare or in records', () => {
    const net = two();
    const given = { a: batch(1, [3, 2]), b: batch(2, [3, 3]) };
    const y = net.forward(given);
    expect(Object.keys(y)).toEqual(['sum', 'gate']);
    const out = { sum: { data: new Float32Array(6), shape: [3, 2] } };
    const into = net.forward(given, { out });
    expect(into.sum).toBe(out.sum);
    expect(out.sum.data).toEqual(y.sum.data);
    expect(into.gate.data).toEqual(y.gate.data);
    const dx = net.backward({ sum: batch(3, [3, 2]) });
    const zeros = { data: new Float32Array(15), shape: [3, 5] };
    const whole = net.backward({ sum: batch(3, [3, 2]), gate: zeros });
    expect(dx).toEqual(whole);
    const one = small();
    const x = batch(4, [5, 16]);
    const bare = one.forward(x);
    expect(one.backward(batch(5, [5, 4])).shape).toEqual([5, 16]);
    expect(one.forward({ x }).data).toEqual(bare.data);
    expect(one.backward({ output: batch(5, [5, 4]) }).x.shape).toEqual([5, 16]);
    const named = new Graph({ x: [16] }, (g, { x: v }) => ({ logits: g.apply('fc', linear(16, 2, 1), v) }));
    expect(named.forward(x).data).toEqual(named.forward({ x }).logits.data);
  });

  test('takes batches of any size by turns, and its own output', () => {
    const [net, twin] = [small(), small()];
    for (const [i, rows] of [5, 2, 9, 5, 3, 40, 9].entries()) {
      const x = batch(i, [rows, 16]);
      const y = net.forward(i % 2 ? x : tensor(x.data, x.shape));
      twin.dispose();
      expect(Float32Array.from(y.data)).toEqual(twin.forward(x).data);
      const dy = batch(50 + i, [rows, 4]);
      expect(Float32Array.from(net.backward(i % 2 ? tensor(dy.data, dy.shape) : dy).data)).toEqual(
        twin.backward(dy).data,
      );
    }
    const square = () => new Graph({ x: [3] }, (g, { x }) => g.add(g.apply('fc', linear(3, 3, 1), x), x));
    const [own, other] = [square(), square()];
    const x = batch(1, [4, 3]);
    const y = own.forward(own.forward(tensor(x.data, x.shape)));
    expect(Float32Array.from(y.data)).toEqual(other.forward(other.forward(x)).data);
    const dx = own.backward(own.backward(tensor(x.data, x.shape)));
    expect(Float32Array.from(dx.data)).toEqual(other.backward(other.backward(x)).data);
  });

  test('a forward that fails halfway leaves what the one before left', () => {
    const make = () =>
      new Graph({ x: [3] }, (g, { x }) => {
        const a = g.apply('bn', new BatchNorm1d(3), x);
        return g.multiply(a, g.apply('strict', new BatchNorm1d(3, { onNonFinite: 'throw' }), g.add(a, x)));
      });
    const [net, twin] = [make(), make()];
    const [good, bad] = [batch(1, [4, 3]), { data: new Float32Array(12).fill(Number.NaN), shape: [4, 3] }];
    for (const one of [net, twin]) one.forward(good);
    expect(() => net.forward(bad)).toThrow(/^Graph, layer strict: BatchNorm1d\(3\): x expected finite statistics/);
    const dy = batch(2, [4, 3]);
    expect(net.backward(dy)).toEqual(twin.backward(dy));
    expect(net.stateDict()).toEqual(twin.stateDict());
    expect(net.forward(good)).toEqual(twin.forward(good));
  });

  test('freezing takes parameters and statistics out of training', () => {
    const net = small().freeze();
    const before = net.stateDict();
    net.forward(batch(1, [4, 16]));
    net.backward(batch(2, [4, 4]));
    expect(net.stateDict()).toEqual(before);
    expect(net.parameters().every(({ frozen, grad }) => frozen && grad.every((g) => g === 0))).toBe(true);
    net.unfreeze().forward(batch(1, [4, 16]));
    expect(net.stateDict()).not.toEqual(before);
  });

  test('lengths reach the layers that take them', () => {
    const make = () => [new BNLSTMCell(3, 4, { norm: false, seed: 1 }), new LayerNorm(4)] as const;
    const [cell, ln] = make();
    const [lone, norm1] = make();
    const net = new Graph({ x: [null, 3] }, (g, { x }) => g.apply('ln', ln, g.apply('cell', cell, x)));
    const x = batch(1, [2, 5, 3]);
    const y = net.forward(x, { lengths: [2, 5] });
    expect(y.data).toEqual(norm1.forward(lone.forward(x, { lengths: [2, 5] })).data);
    expect(y.data).not.toEqual(net.forward(x).data);
    const masked = new Sequential(new BatchNorm1d(3, { layout: 'channels-last' }), new Linear(3, 2, { seed: 1 }));
    const bn = new BatchNorm1d(3, { layout: 'channels-last' });
    const mask = { data: [1, 1, 0, 0, 0, 1, 1, 1, 1, 1], shape: [2, 5] };
    masked.forward(x, { mask });
    bn.forward(x, { mask });
    expect(masked.stateDict()['0.runningMean']).toEqual(bn.stateDict().runningMean);
  });

  test('a net of two branches learns what a linear map cannot', () => {
    const net = new Graph({ x: [2] }, (g, { x }) => {
      const [a, b] = [1, 2].map((seed) => g.apply(`branch.${seed}`, linear(2, 8, seed), x));
      const product = g.multiply(g.apply('tanh', new Tanh(), g.apply('bn', new BatchNorm1d(8), a)), b);
      return g.apply('head', linear(10, 2, 3), g.concat([product, x], -1));
    });
    const optimizer = new SGD(net.parameters(), { lr: 0.2, momentum: 0.9 });
    const x = tensor(normals(3, 256), [128, 2]);
    const labels = Array.from({ length: 128 }, (_, n) => Number(x.data[2 * n] * x.data[2 * n + 1] > 0));
    let last = Number.POSITIVE_INFINITY;
    for (let step = 0; step < 150; step++) {
      const { loss, grad } = crossEntropy(net.forward(x), labels);
      net.zeroGrad();
      net.backward(grad);
      optimizer.step();
      last = loss;
    }
    expect(last).toBeLessThan(0.2);
    net.dispose();
    x.dispose();
  });

  test('norms of every kind say which shapes they take, batch unknown', () => {
    const net = new Graph({ x: [4, null] }, (g, { x }) =>
      g.apply('gn', new GroupNorm(2, 4), g.apply('act', new ActivationLayer('gelu'), x)),
    );
    expect(net.outputs[0].shape).toEqual([null, 4, null]);
  });
});

describe('statistics', () => {
  const make = () =>
    new Graph({ a: [3], b: [3] }, (g, { a, b }) => {
      const [p, q] = [g.apply('bn.a', new BatchNorm1d(3), a), g.apply('bn.b', new BatchNorm1d(3), b)];
      const drop = g.apply('drop', new Dropout(0.5, { seed: 1 }), g.multiply(p, q));
      return g.apply('fc', linear(6, 2, 1), g.concat([drop, b], 1));
    });
  const batches = [1, 2, 3].map((seed) => ({ a: batch(seed, [8, 3]), b: batch(seed + 9, [8, 3]) }));

  test('of the population, recalibration and adaptation take records', async () => {
    const net = make();
    const { layers } = await populationStatistics(net, batches);
    expect(Object.keys(layers)).toEqual(['bn.a', 'bn.b']);
    const lone = new BatchNorm1d(3);
    const alone = await populationStatistics(
      lone,
      batches.map(({ b }) => b),
    );
    expect(layers['bn.b']).toEqual(alone.layers['']);
    await recalibrate(net, batches);
    expect([...(net.layers.get('bn.b') as BatchNorm1d).runningMean!]).toEqual([
      ...Float32Array.from(layers['bn.b'].mean),
    ]);
    const before = net.stateDict();
    const { rollback } = await adapt(net, [batches[0]]);
    expect(net.stateDict()).not.toEqual(before);
    rollback();
    expect(net.stateDict()).toEqual(before);
  });

  test('diagnose names layers, and finds channels along branches', () => {
    const net = new Graph({ image: [3, 4], row: [4] }, (g, { image, row }) => {
      const i = g.apply('bn', new BatchNorm1d(3), image);
      const r = g.apply('fc', linear(4, 4, 1), row);
      return { image: g.apply('act.image', new Tanh(), i), row: g.apply('act.row', new Tanh(), r) };
    });
    const { units, norms } = diagnose(net, { image: batch(1, [5, 3, 4]), row: batch(2, [5, 4]) });
    expect(norms.map(({ name }) => name)).toEqual(['bn']);
    expect(units.map(({ name, channels }) => [name, channels])).toEqual([
      ['bn', 3],
      ['fc', 4],
      ['act.image', 3],
      ['act.row', 4],
    ]);
  });
});
