// Options of convolutions, read and checked.

import { isList, show, wrongValue } from '../errors.ts';
import { flag, option, readSchema, type Schema } from '../named-options.ts';
import { sizeOf } from '../tensors/shape.ts';
import type { Layout } from '../types.ts';
import { type Around, type ConvSpec, weightShape } from './conv-geometry.ts';
import { checkFeatures, layout } from './options.ts';
import { integersOption, type PerAxis, readIntegers } from './per-axis.ts';

/** What padding may be given as. */
export type ConvPadding = PerAxis | readonly (readonly [before: number, after: number])[] | 'same' | 'valid';

const isPairs = (given: unknown, axes: number) =>
  isList(given) && given.length === axes && Array.from(given).every(isList);

function readPadding(subject: string, given: unknown, axes: number): readonly Around[] | 'same' {
  if (given === 'same') return given;
  if (given === 'valid') return readPadding(subject, 0, axes);
  if (isPairs(given, axes)) {
    return Array.from(
      given as ArrayLike<unknown>,
      (pair) => readIntegers(subject, 'padding', pair, 2, 0) as unknown as Around,
    );
  }
  if (typeof given === 'string' || (isList(given) && Array.from(given).some(isList))) {
    const expected = `'same', 'valid', an integer of 0 or more, ${axes} of them, or ${axes} pairs [before, after]`;
    throw wrongValue('ERR_OPTION', subject, 'padding', expected, show(given));
  }
  return readIntegers(subject, 'padding', given, axes, 0).map((both) => [both, both] as const);
}

/** Options of a convolution as it uses them. */
interface ConvSettings {
  readonly stride: readonly number[];
  readonly padding: readonly Around[] | 'same';
  readonly outputPadding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
  readonly bias: boolean;
  readonly layout: Layout;
}

function convSchema(transposed: boolean, axes: number, channels: readonly (number | null)[]): Schema<ConvSettings> {
  const all = (value: number) => Array.from({ length: axes }, () => value);
  const padding = (subject: string, name: string, value: unknown) =>
    transposed && typeof value !== 'number' && !isPairs(value, axes)
      ? readIntegers(subject, name, value, axes, 0).map((both) => [both, both] as const)
      : readPadding(subject, value, axes);
  const schema = {
    stride: integersOption(all(1), 1),
    padding: { standard: all(0).map((): Around => [0, 0]), read: padding },
    dilation: integersOption(all(1), 1),
    groups: option(1, (subject, name, value) => {
      if (Number.isInteger(value) && value >= 1 && channels.every((count) => count === null || count % value === 0))
        return;
      const expected = 'an integer of 1 or more that divides the channels';
      const context = `${channels[0]} in, ${channels[1]} out`;
      throw wrongValue('ERR_OPTION', subject, name, expected, show(value), context);
    }),
    bias: flag(true),
    layout: layout(),
  };
  return { ...schema, ...(transposed && { outputPadding: integersOption(all(0), 0) }) } as Schema<ConvSettings>;
}

/**
 * Reads what a constructor was given.
 *
 * @param inChannels null: not known yet, NaN in what is returned
 * @param own options of the class besides those of every convolution
 * @throws ERR_OPTION for an unknown option or a value it does not take, and for channels that
 *   groups do not divide; ERR_MEMORY for more weights than 4 GiB hold
 */
export function readConv<S extends object>(
  { name, axes, transposed }: { readonly name: string; readonly axes: number; readonly transposed: boolean },
  inChannels: number | null,
  outChannels: number,
  kernelSize: PerAxis,
  options: object,
  own: Schema<S>,
): { subject: string; spec: ConvSpec; settings: S & { readonly bias: boolean } } {
  if (inChannels !== null) checkFeatures(name, 'inChannels', inChannels);
  checkFeatures(name, 'outChannels', outChannels);
  const subject = `${name}(${inChannels}, ${outChannels})`;
  const kernel = readIntegers(subject, 'kernelSize', kernelSize, axes, 1);
  const schema = { ...convSchema(transposed, axes, [inChannels, outChannels]), ...own } as Schema<ConvSettings & S>;
  const settings = readSchema(subject, options, schema);
  const { stride, padding, dilation, groups, layout, outputPadding = kernel.map(() => 0) } = settings;
  outputPadding.forEach((extra, a) => {
    if (extra < Math.max(stride[a], dilation[a])) return;
    const expected = 'less than stride or dilation';
    throw wrongValue('ERR_OPTION', subject, 'outputPadding', expected, `${extra}`, `axis ${a} of ${axes}`);
  });
  const geometry = { kernel, stride, dilation, padding, outputPadding };
  const spec: ConvSpec = { transposed, inChannels: inChannels ?? Number.NaN, outChannels, ...geometry, groups, layout };
  if (inChannels !== null) sizeOf(subject, 'weight', weightShape(spec));
  return { subject, spec, settings };
}
