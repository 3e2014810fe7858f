// a + b and a·b, whose shapes broadcast as in numpy.

import { NO_ACTIVATION } from '../../kernels/activations.ts';
import { multiply } from '../../kernels/elementwise/calls.ts';
import { affine, type Extent } from '../../kernels/inference/calls.ts';
import { broadcastShape, eachRow, walkOver } from '../../tensors/broadcast.ts';
import { countOf, sameShape } from '../../tensors/shape.ts';
import { fill, indexOf } from '../../wasm/views.ts';
import { U, type Valued } from '../error-analysis.ts';
import type { Description, Operation, Runner, Shape } from '../operation.ts';

export interface BroadcastOperation extends Operation {
  readonly kind: 'add' | 'multiply';
}

const operators = {
  add: (a: number, b: number) => a + b,
  multiply: (a: number, b: number) => a * b,
};

/**
 * x and b as a map by channel: b has one value for each of x's leading axes (a gate by sample and
 * channel), or for each of its trailing ones (a bias). Undefined where b is repeated otherwise.
 */
function asMap(x: Shape, b: Shape): (Extent & { readonly vector: number }) | undefined {
  const axes = x.map((_, i) => b[i - x.length + b.length] ?? 1);
  if (b.length > x.length || countOf(x) === 0) return undefined;
  const vector = countOf(b);
  let lead = 0;
  while (lead < x.length && axes[lead] === x[lead]) lead++;
  // what follows is repeated within each
  if (axes.slice(lead).every((length) => length === 1)) {
    return { kernel: 'ncx', outer: 1, channels: vector, inner: countOf(x) / vector, vector };
  }
  let trail = x.length;
  while (trail > 0 && axes[trail - 1] === x[trail - 1]) trail--;
  if (axes.slice(0, trail).some((length) => length !== 1)) return undefined;
  return { kernel: 'nxc', outer: countOf(x) / vector, channels: vector, inner: 1, vector };
}

function runnerOf(kind: BroadcastOperation['kind']): Runner<BroadcastOperation> {
  return {
    kind,
    arity: 2,
    fuses: false,
    overwrites: [],
    name: () => kind,
    shape: (subject, _operation, shapes) => broadcastShape(subject, 'the inputs', shapes),
    scratch: (_operation, [a, b]) => 4 * (asMap(a, b) ?? asMap(b, a) ?? { vector: 0 }).vector,
    call({ backend, shapes: [a, b], inputs: [first, second], output, scratch }) {
      const y = broadcastShape('compiled network', kind, [a, b]);
      if (kind === 'multiply' && sameShape(a, b)) {
        return () => multiply(backend, first(), second(), output(), countOf(y));
      }
      const map = asMap(a, b) ?? asMap(b, a);
      if (map) {
        const [whole, vector] = asMap(a, b) ? [first, second] : [second, first];
        return () => {
          // y = x·b + 0, or x·1 + b
          const other = scratch();
          fill(backend.heap, other, map.vector, kind === 'multiply' ? 0 : 1);
          const [scale, shift] = kind === 'multiply' ? [vector(), other] : [other, vector()];
          affine(backend, map, whole(), { center: 0, scale, shift }, 0, output(), NO_ACTIVATION);
        };
      }
      const walk = walkOver(y, [y, a, b]);
      const of = operators[kind];
      return () => {
        const { f32 } = backend.heap;
        const [from, more, to] = [first(), second(), output()].map(indexOf);
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
