// One of two values, as a third one says.

import { broadcastShape, eachRow, walkOver } from '../../tensors/broadcast.ts';
import { countOf } from '../../tensors/shape.ts';
import type { Operation } from '../operation.ts';
import { type Plain, plainDescription, plainRunner } from '../plain.ts';

export interface WhereOperation extends Operation {
  readonly kind: 'where';
}

const plain: Plain<WhereOperation> = {
  kind: 'where',
  arity: 3,
  name: () => 'where',
  shape: (subject, _operation, shapes) => broadcastShape(subject, 'the inputs', shapes),
  prepare(_operation, shapes) {
    const shape = broadcastShape('where', 'the inputs', shapes);
    const walk = walkOver(shape, [shape, ...shapes]);
    return ([c, a, b], [h, i, j], y, to) => {
      eachRow(walk, ([k, l, m, n], length, [, p, q, r]) => {
        for (let s = 0; s < length; s++) {
          y[to + k + s] = c[h + l + s * p] !== 0 ? a[i + m + s * q] : b[j + n + s * r];
        }
      });
    };
  },
  read: () => ({ kind: 'where' }),
};

export const runWhere = /* @__PURE__ */ plainRunner(plain);

export const describeWhere = /* @__PURE__ */ plainDescription(plain, runWhere, {
  group: 'arithmetic',
  noun: 'a choice',
  json: () => ({}),
  error([c, a, b], operation, shape) {
    const out = new Float64Array(countOf(shape));
    if (c.error.some((e) => e !== 0)) return out.fill(Number.POSITIVE_INFINITY);
    const shapes = [c.shape, a.shape, b.shape];
    plain.prepare(operation, shapes)([c.value, a.error, b.error], [0, 0, 0], out, 0);
    return out;
  },
});
