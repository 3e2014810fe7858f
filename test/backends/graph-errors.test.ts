// Every message of graphs, whole; and that nothing was allocated before it.

import { expect, test } from 'vitest';
import { BatchNorm1d, Graph, Layer, Linear, ReLU, Sequential, Tanh, type Value } from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { errorOf } from '../support/errors.ts';

// biome-ignore lint/suspicious/noExplicitAny: what types would refuse
const any = (value: unknown) => value as any;
const batch = (shape: number[]) => ({ data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5), shape });
const relu = () => new ReLU();

/** A layer of a program's own, which runs another. */
class Wrapped extends Layer {
  readonly subject = 'Wrapped';
  inner: Layer = relu();
  forward(x: never, options?: never): never {
    return this.inner.forward(x, options) as never;
  }
  backward(dy: never, options?: never): never {
    return this.inner.backward(dy, options) as never;
  }
  checkSaved(): unknown {
    return this.inner.checkSaved();
  }
  forget(): void {
    this.inner.forget();
  }
  outputShape(shape: readonly number[]): readonly number[] {
    return this.inner.outputShape(shape);
  }
  trace(): never {
    throw new Error('none');
  }
}

const looped = () => {
  const wrapped = new Wrapped();
  const net = new Graph({ x: [2] }, (g, { x }) => g.apply('self', wrapped, x));
  wrapped.inner = net;
  return net;
};

const pair = () => new Graph({ a: [2], b: [2] }, (g, { a, b }) => ({ sum: g.add(a, b), product: g.multiply(a, b) }));
const one = () => new Graph({ x: [2] }, (g, { x }) => g.apply('act', relu(), x));

const CASES: Record<string, [work: () => unknown, kind: string, code: string, message: string]> = {
  'a cycle': [
    () => looped().forward(batch([1, 2])),
    'RangeError',
    'ERR_OPTION',
    'Graph, layer self: Graph: a layer expected another network, got itself (a cycle)',
  ],
  'a cycle in another graph': [
    () => new Graph({ x: [2] }, (g, { x }) => g.apply('loop', looped(), x)),
    'RangeError',
    'ERR_OPTION',
    'Graph, layer loop.self: Graph: a layer expected another network, got itself (a cycle)',
  ],
  'an unused input': [
    () => new Graph({ x: [2], y: [2] }, (g, { x }) => g.apply('act', relu(), x)),
    'RangeError',
    'ERR_OPTION',
    "Graph: input 'y' expected a use, got none",
  ],
  'a layer whose value nobody uses': [
    () =>
      new Graph({ x: [2] }, (g, { x }) => {
        g.apply('idle', relu(), x);
        return g.apply('act', relu(), x);
      }),
    'RangeError',
    'ERR_OPTION',
    'Graph: idle expected a use, got none',
  ],
  'a value of another graph': [
    () => {
      let other: Value;
      new Graph({ x: [2] }, (g, { x }) => {
        other = g.apply('h', relu(), x);
        return other;
      });
      new Graph({ x: [2] }, (g, { x }) => g.add(x, other));
    },
    'RangeError',
    'ERR_OPTION',
    "Graph: add expected a value of this graph, got 'h' of another",
  ],
  'no value': [
    () => new Graph({ x: [2] }, (g) => g.apply('act', relu(), any(3))),
    'TypeError',
    'ERR_TYPE',
    'Graph: act expected a value of the graph, got 3',
  ],
  'a call after it was built': [
    () => {
      // biome-ignore lint/suspicious/noExplicitAny: kept beyond its time
      let kept: any;
      new Graph({ x: [2] }, (g, { x }) => {
        kept = [g, x];
        return g.apply('act', relu(), x);
      });
      kept[0].add(kept[1], kept[1]);
    },
    'Error',
    'ERR_MODE',
    'Graph: add expected a call in the function that builds it, got one after it',
  ],
  'a name given twice': [
    () => new Graph({ x: [2] }, (g, { x }) => g.apply('act', relu(), g.apply('act', relu(), x))),
    'RangeError',
    'ERR_OPTION',
    "Graph: name expected another for each layer, got 'act' twice",
  ],
  'an empty name': [
    () => new Graph({ x: [2] }, (g, { x }) => g.apply('', relu(), x)),
    'RangeError',
    'ERR_OPTION',
    "Graph: name expected a name, got ''",
  ],
  'an empty name of an input': [
    () => new Graph({ '': [2] }, (g, { '': x }) => g.apply('act', relu(), x)),
    'RangeError',
    'ERR_OPTION',
    "Graph: name expected a name, got ''",
  ],
  'an empty name of an output': [
    () => new Graph({ x: [2] }, (g, { x }) => ({ '': g.apply('act', relu(), x) })),
    'RangeError',
    'ERR_OPTION',
    "Graph: name expected a name, got ''",
  ],
  'a name that is none': [
    () => new Graph({ x: [2] }, (g, { x }) => g.apply(any(1), relu(), x)),
    'TypeError',
    'ERR_TYPE',
    'Graph: name expected a string, got 1',
  ],
  'a layer applied twice': [
    () => {
      const act = new Tanh();
      new Graph({ x: [2] }, (g, { x }) => g.apply('b', act, g.apply('a', act, x)));
    },
    'RangeError',
    'ERR_OPTION',
    'Graph: each layer expected a place of its own, since it keeps what its backward needs, got Tanh twice',
  ],
  'no layer': [
    () => new Graph({ x: [2] }, (g, { x }) => g.apply('act', any(Math.tanh), x)),
    'TypeError',
    'ERR_TYPE',
    'Graph: a layer expected a Layer, got function',
  ],
  'a layer that does not take the shape': [
    () => new Graph({ x: [8] }, (g, { x }) => g.apply('fc1', new Linear(16, 4), x)),
    'RangeError',
    'ERR_SHAPE',
    'Graph, layer fc1: Linear(16, 4): x expected 16 features on axis 1, got 8 (shape [null, 8])',
  ],
  'a layer within a graph within a graph that does not take the shape': [
    () => {
      const inner = new Graph({ x: [null] }, (g, { x }) => g.apply('bn', new BatchNorm1d(4), x));
      new Graph({ x: [8] }, (g, { x }) => g.apply('body', new Sequential(relu(), inner), x));
    },
    'RangeError',
    'ERR_SHAPE',
    'Graph, layer body: Sequential, layer 1: Graph, layer bn: BatchNorm1d(4): x expected 4 channels on axis 1, got 8 (shape [null, 8], channels-first)',
  ],
  'shapes that do not agree': [
    () => new Graph({ x: [4], y: [3] }, (g, { x, y }) => g.add(g.apply('act', relu(), x), y)),
    'RangeError',
    'ERR_SHAPE',
    'Graph: add(act, y) expected shapes that agree, or lengths of 1, got [null, 4] and [null, 3] (axis 1)',
  ],
  'shapes that do not agree in a product': [
    () => new Graph({ x: [4], y: [3] }, (g, { x, y }) => g.multiply(g.multiply(x, x), y)),
    'RangeError',
    'ERR_SHAPE',
    'Graph: multiply_1(multiply, y) expected shapes that agree, or lengths of 1, got [null, 4] and [null, 3] (axis 1)',
  ],
  'shapes that do not agree in a concatenation': [
    () => new Graph({ x: [4, 2], y: [3, 3] }, (g, { x, y }) => g.concat([x, y], 1)),
    'RangeError',
    'ERR_SHAPE',
    'Graph: concat(x, y) expected shapes that agree along the other axes, got [null, 4, 2] and [null, 3, 3] (axis 1)',
  ],
  'shapes that only a batch shows not to agree': [
    () => pair().forward({ a: batch([2, 2]), b: batch([3, 2]) }),
    'RangeError',
    'ERR_SHAPE',
    'Graph: add(a, b) expected shapes that agree, or lengths of 1, got [2, 2] and [3, 2] (axis 0)',
  ],
  'an axis that is none': [
    () => new Graph({ x: [4] }, (g, { x }) => g.concat([x, x], 2)),
    'RangeError',
    'ERR_SHAPE',
    'Graph: concat(x, x) expected an axis of [null, 4], got 2',
  ],
  'an axis that is no number': [
    () => new Graph({ x: [4] }, (g, { x }) => g.concat([x, x], any('1'))),
    'TypeError',
    'ERR_OPTION',
    "Graph: concat: axis expected an integer, got '1'",
  ],
  'a concatenation of nothing': [
    () => new Graph({ x: [4] }, (g) => g.concat([], 0)),
    'TypeError',
    'ERR_TYPE',
    'Graph: concat expected an array of values, got []',
  ],
  'an output that is an input': [
    () => new Graph({ x: [4] }, (g, { x }) => ({ y: g.apply('act', relu(), x), same: x })),
    'RangeError',
    'ERR_OPTION',
    "Graph: output 'same' expected the value of a layer or an operation, got the input 'x'",
  ],
  'no output': [
    () =>
      new Graph(
        { x: [4] },
        any(() => ({})),
      ),
    'RangeError',
    'ERR_OPTION',
    'Graph: outputs expected at least 1, got none',
  ],
  'an output that is no value': [
    () =>
      new Graph(
        { x: [4] },
        any(() => undefined),
      ),
    'TypeError',
    'ERR_TYPE',
    'Graph: outputs expected a value or a record of values, got undefined',
  ],
  'no input': [
    () => new Graph({}, any(relu)),
    'RangeError',
    'ERR_OPTION',
    'Graph: inputs expected at least 1, got none',
  ],
  'inputs that are none': [
    () => new Graph(any([[4]]), any(relu)),
    'TypeError',
    'ERR_TYPE',
    'Graph: inputs expected a record of names to shapes, got [[4]]',
  ],
  'an input without a shape': [
    () => new Graph(any({ x: 4 }), any(relu)),
    'TypeError',
    'ERR_TYPE',
    "Graph: input 'x' expected a shape without the batch, got 4",
  ],
  'an input of a shape that is none': [
    () => new Graph({ x: [4, -1] }, any(relu)),
    'RangeError',
    'ERR_SHAPE',
    "Graph: input 'x' expected positive integers, or null for any, got [4, -1]",
  ],
  'nothing that builds it': [
    () => new Graph({ x: [4] }, any({})),
    'TypeError',
    'ERR_TYPE',
    'Graph: build expected a function, got Object',
  ],
  'names that meet in the state dict': [
    () =>
      new Graph({ x: [2] }, (g, { x }) => {
        const inner = new Graph({ x: [2] }, (h, { x: v }) => h.apply('b', new Linear(2, 2), v));
        return g.apply('a.b', new Linear(2, 2), g.apply('a', inner, x));
      }),
    'RangeError',
    'ERR_OPTION',
    "Graph: names expected different ones in the state dict, got 'a.b.weight' twice",
  ],
  'an unknown input': [
    () => pair().forward(any({ a: batch([2, 2]), b: batch([2, 2]), c: batch([2, 2]) })),
    'RangeError',
    'ERR_OPTION',
    "Graph: x expected 'a' or 'b', got 'c'",
  ],
  'a missing input': [
    () => pair().forward(any({ a: batch([2, 2]) })),
    'RangeError',
    'ERR_OPTION',
    "Graph: x expected an entry 'b', got none",
  ],
  'one tensor for two inputs': [
    () => pair().forward(batch([2, 2])),
    'TypeError',
    'ERR_TYPE',
    "Graph: x expected a record of 'a', 'b', got Object",
  ],
  'an input of another shape': [
    () => pair().forward({ a: batch([2, 2]), b: batch([2, 3]) }),
    'RangeError',
    'ERR_SHAPE',
    'Graph: b expected shape [null, 2], got [2, 3]',
  ],
  'an input that is none': [
    () => one().forward(any(null)),
    'TypeError',
    'ERR_TYPE',
    'Graph: x expected a Tensor or { data, shape }, got null',
  ],
  'no gradient': [
    () => {
      const net = pair();
      net.forward({ a: batch([2, 2]), b: batch([2, 2]) });
      net.backward(any({}));
    },
    'RangeError',
    'ERR_OPTION',
    "Graph: dy expected an entry 'sum', got none",
  ],
  'a gradient that is none': [
    () => {
      const net = one();
      net.forward(batch([2, 2]));
      net.backward(any(null));
    },
    'TypeError',
    'ERR_TYPE',
    'Graph: dy expected a Tensor or { data, shape }, got null',
  ],
  'a gradient in a record that is none': [
    () => {
      const net = pair();
      net.forward({ a: batch([2, 2]), b: batch([2, 2]) });
      net.backward(any({ product: null }));
    },
    'TypeError',
    'ERR_TYPE',
    'Graph: dy.product expected a Tensor or { data, shape }, got null',
  ],
  'a gradient of a chain that is none': [
    () => {
      const net = new Sequential(relu());
      net.forward(batch([2, 2]));
      net.backward(any(undefined));
    },
    'TypeError',
    'ERR_TYPE',
    'Sequential: dy expected a Tensor or { data, shape }, got undefined',
  ],
  'gradients of micro-batches of which one is none': [
    () => {
      const net = new Sequential(relu());
      net.forwardMicroBatches([batch([2, 2]), batch([2, 2])]);
      net.backwardMicroBatches([batch([2, 2]), any(null)]);
    },
    'TypeError',
    'ERR_TYPE',
    'Sequential: dy 1 expected a Tensor or { data, shape }, got null',
  ],
  'an out that is none': [
    () => new Sequential(relu()).forward(batch([2, 2]), any({ out: null })),
    'TypeError',
    'ERR_TYPE',
    'Sequential: out expected a Tensor or { data, shape }, got null',
  ],
  'a gradient of another shape': [
    () => {
      const net = pair();
      net.forward({ a: batch([2, 2]), b: batch([2, 2]) });
      net.backward({ sum: batch([2, 1]) });
    },
    'RangeError',
    'ERR_SHAPE',
    'Graph: dy.sum expected shape [2, 2], got [2, 1]',
  ],
  'an out that is shared': [
    () => {
      const sum = batch([2, 2]);
      pair().forward({ a: batch([2, 2]), b: batch([2, 2]) }, { out: { sum, product: sum } });
    },
    'RangeError',
    'ERR_ALIAS',
    'Graph: out expected memory apart from output 0, got output 0 itself',
  ],
  'a backward before a forward': [
    () => one().backward(batch([2, 2])),
    'Error',
    'ERR_MODE',
    'Graph: backward expected a forward before it, got none',
  ],
  'an option that no layer takes': [
    () => one().forward(batch([2, 2]), { lengths: [1, 2] }),
    'TypeError',
    'ERR_OPTION',
    "Graph: options expected 'out', got 'lengths'",
  ],
  'two inputs in a chain': [
    () => new Sequential(pair()),
    'RangeError',
    'ERR_OPTION',
    'Sequential: a layer expected 1 input and 1 output, got Graph with 2 and 2',
  ],
};

test.each(Object.entries(CASES))('%s', (_, [work, kind, code, message]) => {
  const { blocks } = backend().heap;
  expect(errorOf(work)).toEqual([kind, code, message]);
  if (!/gradient/.test(_)) expect(backend().heap.blocks).toBe(blocks);
});
