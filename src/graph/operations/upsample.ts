// Images with more values.

import { unknownShape } from '../../layers/per-axis.ts';
import {
  bilinear,
  nearestMaps,
  UPSAMPLE_MODES,
  type Upsampling,
  upsampledAxes,
  upsampledShape,
} from '../../layers/upsampling.ts';
import { gatherer } from '../../tensors/axis-maps.ts';
import { countOf } from '../../tensors/shape.ts';
import { indexOf } from '../../wasm/views.ts';
import { U } from '../error-analysis.ts';
import type { Description, Operation, Runner, Shape } from '../operation.ts';

export interface UpsampleOperation extends Operation, Upsampling {
  readonly kind: 'upsample';
}

type Values = Float32Array | Float64Array;

/** The copy or the interpolation for a shape. */
function resampler(
  operation: UpsampleOperation,
  shape: Shape,
): (x: Values, from: number, y: Values, to: number) => void {
  if (operation.mode === 'bilinear') return bilinear('upsample', operation, shape).forward;
  return gatherer(nearestMaps('upsample', operation, shape), 0);
}

export const runUpsample: Runner<UpsampleOperation> = {
  kind: 'upsample',
  arity: 1,
  fuses: false,
  overwrites: [],
  name: ({ scale, mode }) => `upsample ×${typeof scale === 'number' ? scale : scale.join('×')}, ${mode}`,
  shape: (subject, operation, [x]) => upsampledShape(subject, operation, x),
  takes(operation, rank) {
    const axes = upsampledAxes(operation);
    return (axes === undefined ? rank >= 3 : rank === axes + 2) ? unknownShape(rank) : undefined;
  },
  call({ backend, operation, shapes, inputs: [from], output }) {
    const resample = resampler(operation, shapes[0]);
    return () => {
      const { f32 } = backend.heap;
      resample(f32, indexOf(from()), f32, indexOf(output()));
    };
  },
  read({ json: { layout, mode, alignCorners, scale }, fail }) {
    if (layout !== 'channels-first' && layout !== 'channels-last') throw fail('a layout', layout);
    if (!UPSAMPLE_MODES.includes(mode as 'nearest')) throw fail('a mode', mode);
    if (typeof alignCorners !== 'boolean') throw fail('alignCorners true or false', alignCorners);
    const isScale = (value: unknown) => typeof value === 'number' && value > 0 && value <= 2 ** 24;
    const isList = Array.isArray(scale) && scale.length > 0 && (mode === 'nearest' || scale.length === 2);
    if (!(isList ? scale.every(isScale) : isScale(scale))) throw fail('a scale', scale);
    return { kind: 'upsample', layout, mode: mode as 'nearest', alignCorners, scale: scale as number };
  },
};

export const describeUpsample: Description<UpsampleOperation> = {
  runner: runUpsample,
  group: 'reshaping',
  noun: 'upsampling',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json: ({ layout, mode, alignCorners, scale }) => ({ layout, mode, alignCorners, scale }),
  bytes: () => 0,
  work: () => 0,
  analyse([x], operation) {
    const shape = upsampledShape('certificate', operation, x.shape);
    const out = { shape, value: new Float64Array(countOf(shape)), error: new Float64Array(countOf(shape)) };
    const resample = resampler(operation, x.shape);
    resample(x.value, 0, out.value, 0);
    resample(x.error, 0, out.error, 0);
    // interpolated in f64, and rounded once
    if (operation.mode === 'bilinear') {
      for (let i = 0; i < out.value.length; i++) out.error[i] += U * (Math.abs(out.value[i]) + out.error[i]);
    }
    return out;
  },
};
