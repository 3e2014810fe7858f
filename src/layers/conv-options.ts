// Options of convolutions, read and checked.

import { isList, show, wrongKind, wrongValue } from '../errors.ts';
import { takeOptions } from '../named-options.ts';
import { sizeOf } from '../tensors/shape.ts';
import type { Layout } from '../types.ts';
import { type Around, type ConvSpec, weightShape } from './conv-geometry.ts';
import { checkFeatures, checkLayout } from './options.ts';
import type { PerAxis } from './per-axis.ts';

/** What padding may be given as. */
export type ConvPadding = PerAxis | readonly (readonly [before: number, after: number])[] | 'same' | 'valid';

interface Given {
  stride?: PerAxis;
  padding?: ConvPadding;
  outputPadding?: PerAxis;
  dilation?: PerAxis;
  groups?: number;
  bias?: boolean;
  layout?: Layout;
}

/** One whole number for each axis, of at least `least`. */
function perAxis(subject: string, argument: string, given: unknown, axes: number, least: number): number[] {
  const values =
    typeof given === 'number' ? new Array<number>(axes).fill(given) : isList(given) ? Array.from(given) : [];
  const fits = (value: unknown) => Number.isInteger(value) && (value as number) >= least && (value as number) < 2 ** 24;
  if (values.length === axes && values.every(fits)) return values as number[];
  const expected = `an integer of ${least} or more, or ${axes} of them`;
  const wrong = typeof given === 'number' || isList(given) ? wrongValue : wrongKind;
  throw wrong('ERR_OPTION', subject, argument, expected, show(given));
}

function readPadding(subject: string, given: unknown, axes: number): readonly Around[] | 'same' {
  if (given === 'same') return given;
  if (given === 'valid') return readPadding(subject, 0, axes);
  if (isList(given) && given.length === axes && Array.from(given).every(isList)) {
    return Array.from(given, (pair) => perAxis(subject, 'padding', pair, 2, 0) as unknown as Around);
  }
  if (typeof given === 'string' || (isList(given) && Array.from(given).some(isList))) {
    const expected = `'same', 'valid', an integer of 0 or more, ${axes} of them, or ${axes} pairs [before, after]`;
    throw wrongValue('ERR_OPTION', subject, 'padding', expected, show(given));
  }
  return perAxis(subject, 'padding', given, axes, 0).map((both) => [both, both] as const);
}

/** What a constructor was given. */
export interface ReadConv<O> {
  readonly subject: string;
  /** With NaN input channels, where they are not known yet. */
  readonly spec: ConvSpec;
  readonly bias: boolean;
  readonly taken: O;
}

/**
 * Reads what a constructor was given.
 *
 * @param given input channels; null: not known yet
 * @param own options of the class besides those of every convolution
 * @throws ERR_OPTION for an unknown option or a value it does not take, and for channels that groups do not divide;
 *   ERR_MEMORY for more weights than 4 GiB hold
 */
export function readConv<O extends Given>(
  name: string,
  transposed: boolean,
  axes: number,
  given: number | null,
  outChannels: number,
  kernelSize: PerAxis,
  options: O,
  own: readonly string[],
): ReadConv<O> {
  if (given !== null) checkFeatures(name, 'inChannels', given);
  checkFeatures(name, 'outChannels', outChannels);
  const subject = `${name}(${given}, ${outChannels})`;
  const inChannels = given ?? Number.NaN;
  const kernel = perAxis(subject, 'kernelSize', kernelSize, axes, 1);
  const names = ['stride', 'padding', 'dilation', 'groups', 'bias', 'layout', ...own];
  const taken = takeOptions(subject, options, transposed ? [...names, 'outputPadding'] : names);
  const { stride = 1, padding = 0, outputPadding = 0, dilation = 1, groups = 1, bias = true } = taken;
  const { layout = 'channels-first' } = taken;
  checkLayout(subject, layout);
  if (typeof bias !== 'boolean') throw wrongKind('ERR_OPTION', subject, 'bias', 'true or false', show(bias));
  if (!Number.isInteger(groups) || groups < 1 || inChannels % groups > 0 || outChannels % groups) {
    const expected = 'an integer of 1 or more that divides the channels';
    throw wrongValue('ERR_OPTION', subject, 'groups', expected, show(groups), `${given} in, ${outChannels} out`);
  }
  const spec: ConvSpec = {
    transposed,
    inChannels,
    outChannels,
    kernel,
    stride: perAxis(subject, 'stride', stride, axes, 1),
    dilation: perAxis(subject, 'dilation', dilation, axes, 1),
    padding: transposed
      ? perAxis(subject, 'padding', padding, axes, 0).map((both) => [both, both] as const)
      : readPadding(subject, padding, axes),
    outputPadding: perAxis(subject, 'outputPadding', outputPadding, axes, 0),
    groups,
    layout,
  };
  spec.outputPadding.forEach((extra, a) => {
    if (extra < Math.max(spec.stride[a], spec.dilation[a])) return;
    const expected = 'less than stride or dilation';
    throw wrongValue('ERR_OPTION', subject, 'outputPadding', expected, show(outputPadding), `axis ${a} of ${axes}`);
  });
  if (given !== null) sizeOf(subject, 'weight', weightShape(spec));
  return { subject, spec, bias, taken };
}
