// The first values of each sample's sequence the other way round, as ONNX' ReverseSequence.

import { wrongValue } from '../../errors.ts';
import { countOf, differs, showSymbolic } from '../../tensors/shape.ts';
import type { Operation } from '../operation.ts';
import { type Plain, plainDescription, plainRunner } from '../plain.ts';

export interface ReverseOperation extends Operation {
  readonly kind: 'reverse';
  /** The axis of time, 0 or 1; the other one is that of samples. */
  readonly time: 0 | 1;
}

const plain: Plain<ReverseOperation> = {
  kind: 'reverse',
  arity: 2,
  name: ({ time }) => `reversal along axis ${time}`,
  shape(subject, { time }, [x, lengths]) {
    if (x.length >= 2 && lengths.length === 1 && !differs(lengths[0], x[1 - time])) return x;
    const got = `${showSymbolic(x)} and ${showSymbolic(lengths)}`;
    throw wrongValue('ERR_SHAPE', subject, 'the inputs', 'x of rank 2 or more and a length for each sample', got);
  },
  prepare({ time }, [shape]) {
    const [steps, samples] = [shape[time], shape[1 - time]];
    const inner = countOf(shape.slice(2));
    const placeOf = (step: number, sample: number) => (time ? sample * steps + step : step * samples + sample) * inner;
    return ([x, counts], [from, at], y, to) => {
      for (let n = 0; n < samples; n++) {
        const count = counts[at + n];
        if (!(Number.isInteger(count) && count >= 0 && count <= steps)) {
          throw wrongValue('ERR_SHAPE', 'reversal', 'a length', `a whole number from 0 to ${steps}`, `${count}`);
        }
        for (let t = 0; t < steps; t++) {
          const source = from + placeOf(t < count ? count - 1 - t : t, n);
          const target = to + placeOf(t, n);
          for (let i = 0; i < inner; i++) y[target + i] = x[source + i];
        }
      }
    };
  },
  read: ({ json: { time }, whole }) => ({ kind: 'reverse', time: whole(time, 0, 1) as 0 | 1 }),
};

export const runReverse = /* @__PURE__ */ plainRunner(plain);

export const describeReverse = /* @__PURE__ */ plainDescription(plain, runReverse, {
  group: 'indexing',
  noun: 'a reversal',
  json: ({ time }) => ({ time }),
  error([x, lengths], operation, shape) {
    const out = new Float64Array(countOf(shape));
    if (lengths.error.some((e) => e !== 0)) return out.fill(Number.POSITIVE_INFINITY);
    plain.prepare(operation, [x.shape, lengths.shape])([x.error, lengths.value], [0, 0], out, 0);
    return out;
  },
});
