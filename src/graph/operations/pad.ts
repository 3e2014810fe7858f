// Places before and behind the spatial axes.

import { PAD_MODES, type Padding, paddedAxes, paddedShape, paddingMaps } from '../../layers/padding.ts';
import { unknownShape } from '../../layers/per-axis.ts';
import { gatherer } from '../../tensors/axis-maps.ts';
import { countOf } from '../../tensors/shape.ts';
import { indexOf } from '../../wasm/views.ts';
import type { Description, Operation, Runner } from '../operation.ts';

export interface PadOperation extends Operation, Padding {
  readonly kind: 'pad';
}

const MOST = 16_777_216;

/** A number in JSON; what JSON has no number for stands there as text. */
function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return value === 'NaN' || value === 'Infinity' || value === '-Infinity' ? Number(value) : undefined;
}

export const runPad: Runner<PadOperation> = {
  kind: 'pad',
  arity: 1,
  fuses: false,
  overwrites: [],
  name: ({ pads, mode }) =>
    `pad ${typeof pads === 'number' ? pads : pads.map((pad) => pad.join('+')).join('×')}, ${mode}`,
  shape: (subject, operation, [x]) => paddedShape(subject, operation, x),
  takes(operation, rank) {
    const axes = paddedAxes(operation);
    return (axes === undefined ? rank >= 3 : rank === axes + 2) ? unknownShape(rank) : undefined;
  },
  call({ backend, operation, shapes, inputs: [from], output }) {
    const gather = gatherer(paddingMaps('pad', operation, shapes[0]), operation.value);
    return () => {
      const { f32 } = backend.heap;
      gather(f32, indexOf(from()), f32, indexOf(output()));
    };
  },
  read({ json: { layout, mode, value, pads }, fail, whole }) {
    if (layout !== 'channels-first' && layout !== 'channels-last') throw fail('a layout', layout);
    if (!PAD_MODES.includes(mode as 'constant')) throw fail('a mode', mode);
    const number = numberOf(value);
    if (number === undefined) throw fail('a value', value);
    const isPairs =
      Array.isArray(pads) && pads.length > 0 && pads.every((pad) => Array.isArray(pad) && pad.length === 2);
    const read = isPairs
      ? pads.map(([before, after]) => [whole(before, 0, MOST), whole(after, 0, MOST)] as const)
      : whole(pads, 0, MOST);
    return { kind: 'pad', layout, mode: mode as 'constant', value: Math.fround(number), pads: read };
  },
};

export const describePad: Description<PadOperation> = {
  runner: runPad,
  group: 'reshaping',
  noun: 'padding',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json: ({ layout, mode, value, pads }) => ({ layout, mode, value: Number.isFinite(value) ? value : `${value}`, pads }),
  bytes: () => 0,
  work: () => 0,
  analyse([x], operation) {
    const shape = paddedShape('certificate', operation, x.shape);
    const maps = paddingMaps('certificate', operation, x.shape);
    const out = { shape, value: new Float64Array(countOf(shape)), error: new Float64Array(countOf(shape)) };
    gatherer(maps, operation.value)(x.value, 0, out.value, 0);
    gatherer(maps, 0)(x.error, 0, out.error, 0);
    return out;
  },
};
