// a + b and a·b, whose shapes broadcast as in numpy.

import { multiply } from '../../kernels/elementwise/calls.ts';
import { broadcastShape, eachRow, walkOver } from '../../tensors/broadcast.ts';
import { countOf, sameShape } from '../../tensors/shape.ts';
import { indexOf } from '../../wasm/views.ts';
import { U, type Valued } from '../error-analysis.ts';
import type { Description, Operation, Runner } from '../operation.ts';

export interface BroadcastOperation extends Operation {
  readonly kind: 'add' | 'multiply';
}

const operators = {
  add: (a: number, b: number) => a + b,
  multiply: (a: number, b: number) => a * b,
};

function runnerOf(kind: BroadcastOperation['kind']): Runner<BroadcastOperation> {
  return {
    kind,
    arity: 2,
    fuses: false,
    overwrites: [],
    name: () => kind,
    shape: (subject, _operation, shapes) => broadcastShape(subject, 'the inputs', shapes),
    call({ backend, shapes: [a, b], inputs, output }) {
      const y = broadcastShape('compiled network', kind, [a, b]);
      const walk = walkOver(y, [y, a, b]);
      const of = operators[kind];
      const isSame = sameShape(a, b);
      if (isSame && kind === 'multiply') {
        return () => multiply(backend, inputs[0](), inputs[1](), output(), countOf(y));
      }
      return () => {
        const { f32 } = backend.heap;
        const [from, more, to] = [inputs[0](), inputs[1](), output()].map(indexOf);
        eachRow(walk, ([i, k, l], length, [, p, q]) => {
          for (let j = 0; j < length; j++) f32[to + i + j] = of(f32[from + k + j * p], f32[more + l + j * q]);
        });
      };
    },
    read: () => ({ kind }),
  };
}

export const runAdd = /* @__PURE__ */ runnerOf('add');
export const runMultiply = /* @__PURE__ */ runnerOf('multiply');

function descriptionOf(runner: Runner<BroadcastOperation>): Description<BroadcastOperation> {
  const of = operators[runner.kind as BroadcastOperation['kind']];
  const isSum = runner === runAdd;
  return {
    runner,
    group: 'merging',
    noun: isSum ? 'an addition' : 'a product',
    exact: (given) => given,
    rounded: (exact) => exact,
    rounding: () => null,
    json: () => ({}),
    bytes: () => 0,
    work: () => 0,
    analyse([a, b]) {
      const shape = broadcastShape('certificate', 'the inputs', [a.shape, b.shape]);
      const size = shape.reduce((product, length) => product * length, 1);
      const out: Valued = { shape, value: new Float64Array(size), error: new Float64Array(size) };
      eachRow(walkOver(shape, [shape, a.shape, b.shape]), ([i, k, l], length, [, p, q]) => {
        for (let j = 0; j < length; j++) {
          const [x, e] = [a.value[k + j * p], a.error[k + j * p]];
          const [z, d] = [b.value[l + j * q], b.error[l + j * q]];
          const inherited = isSum ? e + d : Math.abs(x) * d + Math.abs(z) * e + d * e;
          const value = of(x, z);
          out.value[i + j] = value;
          out.error[i + j] = inherited + U * (Math.abs(value) + inherited);
        }
      });
      return out;
    },
  };
}

export const describeAdd = /* @__PURE__ */ descriptionOf(runAdd);
export const describeMultiply = /* @__PURE__ */ descriptionOf(runMultiply);
