// Graphs as ONNX models, run by plain formulas of the operators they are written with.

import { expect, test } from 'vitest';
import {
  ActivationLayer,
  BatchNorm1d,
  Dropout,
  Graph,
  LayerNorm,
  Linear,
  ReLU,
  Residual,
  Sequential,
  Sigmoid,
} from '../../src/index.ts';
import { readOnnx, toOnnx } from '../../src/weights/index.ts';
import { normals } from '../support/data.ts';
import { channelsOf, normalized } from '../support/reference.ts';

interface Array32 {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

function zipped(a: Array32, b: Array32, f: (x: number, y: number) => number): Array32 {
  const rank = Math.max(a.shape.length, b.shape.length);
  const own = [a, b].map(({ shape }) => [...Array(rank - shape.length).fill(1), ...shape]);
  const shape = own[0].map((length, axis) => Math.max(length, own[1][axis]));
  const at = (i: number, lengths: number[]) => {
    let [index, step, rest] = [0, 1, i];
    for (let axis = rank - 1; axis >= 0; axis--) {
      if (lengths[axis] > 1) index += (rest % shape[axis]) * step;
      rest = Math.floor(rest / shape[axis]);
      step *= lengths[axis];
    }
    return index;
  };
  const data = Array.from({ length: size(shape) }, (_, i) => f(a.data[at(i, own[0])], b.data[at(i, own[1])]));
  return { data, shape };
}

/** Runs a model of the operators below. */
function run(bytes: Uint8Array, inputs: Record<string, Array32>): { outputs: Record<string, Array32>; ops: string[] } {
  const { nodes, initializers, inputs: declared, outputs: names } = readOnnx(bytes);
  expect([...declared.keys()].sort()).toEqual(Object.keys(inputs).sort());
  const values = new Map<string, Array32>(Object.entries(inputs));
  for (const [name, tensor] of initializers) {
    values.set(name, { data: Array.from(tensor.data as ArrayLike<number>), shape: tensor.shape });
  }
  const map = (x: Array32, f: (v: number) => number) => ({ shape: x.shape, data: Array.from(x.data, f) });
  for (const { op, inputs: own, outputs: made, attributes } of nodes) {
    const [x, w, b, mean, variance] = own.map((name) => values.get(name)!);
    const get = (name: string) => attributes.get(name) as number;
    const product = (transposed: boolean) => {
      const depth = x.shape.at(-1)!;
      const cols = transposed ? w.shape[0] : w.shape[1];
      const data = Array.from({ length: (x.data.length / depth) * cols }, (_, i) => {
        const [n, o] = [Math.floor(i / cols), i % cols];
        let sum = 0;
        for (let k = 0; k < depth; k++)
          sum += x.data[n * depth + k] * w.data[transposed ? o * depth + k : k * cols + o];
        return sum;
      });
      return { data, shape: [...x.shape.slice(0, -1), cols] };
    };
    const formulas: Record<string, () => Array32> = {
      Identity: () => x,
      Dropout: () => x,
      Relu: () => map(x, (v) => Math.max(v, 0)),
      Sigmoid: () => map(x, (v) => 1 / (1 + Math.exp(-v))),
      Add: () => zipped(x, w, (p, q) => p + q),
      Mul: () => zipped(x, w, (p, q) => p * q),
      Gemm: () => (b ? zipped(product(true), b, (p, q) => p + q) : product(true)),
      MatMul: () => product(false),
      BatchNormalization: () => {
        const channelOf = channelsOf(x.shape);
        const statistics = { mean: mean.data, variance: variance.data };
        const affine = { gamma: w.data, beta: b.data, eps: get('epsilon') };
        return { ...x, data: Array.from(x.data, (v, i) => normalized(v, channelOf(i), statistics, affine)) };
      },
      Concat: () => {
        const axis = get('axis');
        expect(axis).toBeGreaterThanOrEqual(0);
        const parts = own.map((name) => values.get(name)!);
        const outer = size(x.shape.slice(0, axis));
        const data: number[] = [];
        for (let n = 0; n < outer; n++)
          for (const part of parts) {
            const length = size(part.shape.slice(axis));
            data.push(...Array.from(part.data).slice(n * length, (n + 1) * length));
          }
        const shape = x.shape.map((length, i) =>
          i === axis ? parts.reduce((sum, part) => sum + part.shape[axis], 0) : length,
        );
        return { data, shape };
      },
    };
    values.set(made[0], formulas[op]());
  }
  return {
    outputs: Object.fromEntries(names.map((name) => [name, values.get(name)!])),
    ops: nodes.map(({ op }) => op),
  };
}

const batch = (seed: number, shape: readonly number[]) => ({ data: normals(seed, size(shape), 0.3), shape });

function expectNear(actual: Array32, expected: Array32): void {
  expect(actual.shape).toEqual([...expected.shape]);
  Array.from(expected.data).forEach((value, i) => {
    expect(Math.abs(actual.data[i] - value)).toBeLessThanOrEqual(1e-5);
  });
}

test('a graph goes out with the names of its inputs, outputs and layers', () => {
  const inner = new Graph({ v: [4] }, (g, { v }) => g.add(g.apply('fc', new Linear(4, 4, { seed: 5 }), v), v));
  const net = new Graph({ a: [4], b: [null, 4] }, (g, { a, b }) => {
    const h = g.apply('fc1', new Linear(4, 4, { seed: 1 }), a);
    const n = g.apply('bn1', new BatchNorm1d(4, { activation: 'relu' }), h);
    const gated = g.multiply(g.apply('gate', new Sigmoid(), b), g.apply('rows', new Linear(4, 4, { seed: 2 }), b));
    const chain = new Sequential(new Residual(new Linear(4, 4, { seed: 3 }), new ReLU()), inner, new Dropout(0.2));
    const c = g.apply('value_3', chain, n);
    return { both: g.concat([c, n, a], -1), gated };
  });
  const inputs = { a: batch(1, [5, 4]), b: batch(2, [5, 3, 4]) };
  for (let k = 0; k < 3; k++) net.forward(inputs);
  const expected = net.eval().forward(inputs);
  const { outputs, ops } = run(toOnnx(net), inputs);
  expect(Object.keys(outputs)).toEqual(['both', 'gated']);
  for (const [name, value] of Object.entries(expected)) expectNear(outputs[name], value);
  expect(ops.filter((op) => op === 'Add' || op === 'Concat')).toHaveLength(4);
  const { inputs: declared } = readOnnx(toOnnx(net));
  expect([...declared].slice(0, 2)).toEqual([
    ['a', [undefined, 4]],
    ['b', [undefined, undefined, 4]],
  ]);
  const names = [...readOnnx(toOnnx(net)).initializers.keys()];
  expect(names).toContain('fc1.weight');
  expect(names).toContain('value_3.1.fc.bias');
});

test('a Residual goes out by itself and in a chain', () => {
  const net = new Sequential(
    new Linear(3, 4, { seed: 1 }),
    new Residual(new Linear(4, 4, { seed: 2 }), new BatchNorm1d(4)),
  );
  const x = batch(1, [6, 3]);
  net.forward(x);
  const y = net.eval().forward(x);
  expectNear(run(toOnnx(net), { input: x }).outputs.output, y);
  const block = new Residual(new Linear(4, 4, { seed: 2 }), new ReLU());
  const v = batch(2, [6, 4]);
  const w = block.forward(v);
  expectNear(run(toOnnx(block), { input: v }).outputs.output, w);
});

test.each([
  [
    () => toOnnx(new Graph({ x: [4] }, (g, { x }) => g.apply('ln', new LayerNorm(4), x))),
    'toOnnx: a layer expected Linear, BatchNorm, an activation, Softmax, Flatten or Dropout, got LayerNorm(4)',
  ],
  [
    () =>
      toOnnx(new Graph({ x: [4] }, (g, { x }) => g.apply('act', new ActivationLayer('tanh'), x)), { inputShape: [4] }),
    'toOnnx: inputShape expected none, as a Graph has shapes of its own, got [4]',
  ],
  [
    () => toOnnx(new Graph({ x: [4] }, (g, { x }) => ({ x: g.apply('act', new ReLU(), x) }))),
    "toOnnx: outputs expected other names than those of inputs, got 'x'",
  ],
  [() => toOnnx(new ReLU() as never), 'toOnnx: net expected a Sequential, a Residual or a Graph, got ReLU'],
])('what cannot go out is refused (%#)', (work, message) => {
  expect(work).toThrow(message);
});
