// Convolutions as shapes: what their options mean, which output an input has, and where windows
// lie. Axes are those behind batch and channels, in their order.

import { showShape, wrongValue } from '../errors.ts';
import { differs, sizeOf } from '../tensors/shape.ts';
import type { Layout } from '../types.ts';

/** Zeros before and after the input along one axis. */
export type Around = readonly [before: number, after: number];

/** A convolution, or the transposed one, without its weights. */
export interface ConvSpec {
  readonly transposed: boolean;
  readonly inChannels: number;
  readonly outChannels: number;
  /** By axis. */
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /** `'same'`: ceil(input/stride) outputs, as many zeros as that takes, the odd one last. */
  readonly padding: readonly Around[] | 'same';
  /** Of a transposed one: values added at the end. */
  readonly outputPadding: readonly number[];
  readonly groups: number;
  readonly layout: Layout;
}

/** `[out, in/groups, ...kernel]`, transposed `[in, out/groups, ...kernel]`. */
export function weightShape({ transposed, inChannels, outChannels, kernel, groups }: ConvSpec): number[] {
  return transposed ? [inChannels, outChannels / groups, ...kernel] : [outChannels, inChannels / groups, ...kernel];
}

/** Cells of a window from the first to the last, along each axis. */
const extents = ({ kernel, dilation }: ConvSpec) => kernel.map((length, a) => dilation[a] * (length - 1) + 1);

/** Zeros around an input of these lengths. */
export function paddingOf(spec: ConvSpec, lengths: readonly number[]): readonly Around[] {
  if (spec.padding !== 'same') return spec.padding;
  const { stride } = spec;
  return extents(spec).map((extent, a) => {
    const total = Math.max((Math.ceil(lengths[a] / stride[a]) - 1) * stride[a] + extent - lengths[a], 0);
    return [Math.floor(total / 2), Math.ceil(total / 2)];
  });
}

/** The lengths of a shape along the axes of windows. */
export function lengthsOf({ layout }: Pick<ConvSpec, 'layout'>, shape: readonly number[]): readonly number[] {
  return layout === 'channels-first' ? shape.slice(2) : shape.slice(1, -1);
}

/** A shape of so many samples and channels, with these lengths. */
function shapeOf(layout: Layout, samples: number, channels: number, lengths: readonly number[]): number[] {
  return layout === 'channels-first' ? [samples, channels, ...lengths] : [samples, ...lengths, channels];
}

/**
 * The shape of the output. Lengths may be NaN.
 *
 * @throws ERR_SHAPE for another rank or channel count, and for an input without a window
 */
export function convShape(subject: string, spec: ConvSpec, shape: readonly number[]): number[] {
  const { transposed, inChannels, outChannels, kernel, stride, outputPadding, layout } = spec;
  const rank = kernel.length + 2;
  const context = `shape ${showShape(shape)}`;
  if (shape.length !== rank) {
    throw wrongValue('ERR_SHAPE', subject, 'x', `rank ${rank}`, `rank ${shape.length}`, context);
  }
  const axis = layout === 'channels-first' ? 1 : rank - 1;
  if (differs(shape[axis], inChannels)) {
    const expected = `${inChannels} channels on axis ${axis}`;
    throw wrongValue('ERR_SHAPE', subject, 'x', expected, `${shape[axis]}`, `${context}, ${layout}`);
  }
  const lengths = lengthsOf(spec, shape);
  const padding = paddingOf(spec, lengths);
  const outLengths = extents(spec).map((extent, a) => {
    const [before, after] = padding[a];
    const at = a + (layout === 'channels-first' ? 2 : 1);
    if (lengths[a] < 1) throw wrongValue('ERR_SHAPE', subject, 'x', `1 value or more on axis ${at}`, '0', context);
    if (transposed) {
      const length = (lengths[a] - 1) * stride[a] - before - after + extent + outputPadding[a];
      if (!(length < 1)) return length;
      throw wrongValue('ERR_SHAPE', subject, 'the output', `1 value or more on axis ${at}`, `${length}`, context);
    }
    if (lengths[a] + before + after < extent) {
      const expected = `${extent} values or more on axis ${at}, as the kernel spans`;
      const given = before + after ? `${lengths[a]} and ${before + after} of padding` : `${lengths[a]}`;
      throw wrongValue('ERR_SHAPE', subject, 'x', expected, given, context);
    }
    return Math.floor((lengths[a] + before + after - extent) / stride[a]) + 1;
  });
  const outShape = shapeOf(layout, shape[0], outChannels, outLengths);
  if (!outShape.some(Number.isNaN)) sizeOf(subject, 'the output', outShape);
  return outShape;
}

/** Three lengths: depth, height and width. */
export type Three = readonly [number, number, number];

const three = (values: readonly number[], filler: number) =>
  [...new Array<number>(3 - values.length).fill(filler), ...values] as unknown as Three;

/**
 * A convolution on inputs of known shape, along three axes. What is said of a transposed one is
 * said of the convolution whose gradient it is: its output is the input here, and the other way
 * round.
 */
export interface ConvGrid {
  readonly samples: number;
  /** Of the convolution's input and output. */
  readonly inChannels: number;
  readonly outChannels: number;
  readonly inLengths: Three;
  readonly outLengths: Three;
  readonly kernel: Three;
  readonly stride: Three;
  readonly dilation: Three;
  /** Zeros before the input. */
  readonly before: Three;
  readonly groups: number;
}

/** What does not depend on an input. */
export type WindowGrid = Pick<ConvGrid, 'kernel' | 'stride' | 'dilation' | 'before'>;

export function windowsOf({ kernel, stride, dilation }: ConvSpec, padding: readonly Around[]): WindowGrid {
  const before = padding.map(([before]) => before);
  return { kernel: three(kernel, 1), stride: three(stride, 1), dilation: three(dilation, 1), before: three(before, 0) };
}

/** The grid of an input that `convShape` has taken. */
export function gridOf(spec: ConvSpec, shape: readonly number[], outShape: readonly number[]): ConvGrid {
  const { transposed, groups } = spec;
  const lengths = lengthsOf(spec, shape);
  const [inner, outer] = transposed ? [outShape, shape] : [shape, outShape];
  return {
    ...windowsOf(spec, paddingOf(spec, lengths)),
    samples: shape[0],
    groups,
    inChannels: transposed ? spec.outChannels : spec.inChannels,
    outChannels: transposed ? spec.inChannels : spec.outChannels,
    inLengths: three(lengthsOf(spec, inner), 1),
    outLengths: three(lengthsOf(spec, outer), 1),
  };
}
