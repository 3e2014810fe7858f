// Running sums along an axis.

import { wrongValue } from '../../errors.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import type { Operation } from '../operation.ts';
import { axisIn, type Plain, plainDescription, plainRunner } from '../plain.ts';

export interface ScanOperation extends Operation {
  readonly kind: 'scan';
  readonly axis: number;
  /** Without the value itself? */
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

const plain: Plain<ScanOperation> = {
  kind: 'scan',
  arity: 1,
  name: ({ axis }) => `running sum of axis ${axis}`,
  shape(subject, { axis }, [x]) {
    const at = axisIn(x.length, axis);
    if (at >= 0 && at < x.length) return x;
    throw wrongValue('ERR_SHAPE', subject, 'the axis', `an axis of ${showSymbolic(x)}`, `${axis}`);
  },
  prepare({ axis, exclusive, reverse }, [shape]) {
    const at = axisIn(shape.length, axis);
    const length = shape[at];
    const inner = countOf(shape.slice(at + 1));
    const outer = countOf(shape.slice(0, at));
    return ([x], [from], y, to) => {
      for (let n = 0; n < outer; n++) {
        for (let i = 0; i < inner; i++) {
          let sum = 0;
          for (let k = 0; k < length; k++) {
            const place = (n * length + (reverse ? length - 1 - k : k)) * inner + i;
            const before = sum;
            sum += x[from + place];
            y[to + place] = exclusive ? before : sum;
          }
        }
      }
    };
  },
  read({ json: { axis, exclusive, reverse }, fail, whole }) {
    if (typeof exclusive !== 'boolean' || typeof reverse !== 'boolean') throw fail('true or false', exclusive);
    return { kind: 'scan', axis: whole(axis, -64, 63), exclusive, reverse };
  },
};

export const runScan = /* @__PURE__ */ plainRunner(plain);

export const describeScan = /* @__PURE__ */ plainDescription(plain, runScan, {
  group: 'arithmetic',
  noun: 'a running sum',
  json: ({ axis, exclusive, reverse }) => ({ axis, exclusive, reverse }),
});
