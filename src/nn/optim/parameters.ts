// What optimizers, clipping and averages are given: parameters, with names or without.

import { show, wrongKind, wrongValue } from '../../errors.ts';
import type { Layer } from '../../layers/layer.ts';
import { LearnedParameter } from '../../layers/parameter.ts';
import { floatsOf, listOf } from '../../typed-arrays.ts';
import type { Parameter } from '../../types.ts';

/** A parameter with its name, as `namedParameters` gives it. */
export type NamedParameter = readonly [name: string, parameter: Parameter];

/** Parameters as they are given: `net.parameters()`, or with names `namedParameters(net)`. */
export type Parameters = readonly Parameter[] | readonly NamedParameter[];

/** One parameter of a list: who it is, where its values and gradient lie, of which shape. */
export interface Entry {
  readonly name: string;
  readonly parameter: Parameter;
  readonly shape: readonly number[];
}

/**
 * The learned parameters of a layer or network with their names in its state dict, in the order of
 * `net.parameters()`. Optimizers, `EMA` and their state dicts take the names over.
 *
 *     namedParameters(net);   // [['0.weight', …], ['0.bias', …], …]
 *
 * @param net a layer or a network
 */
export function namedParameters(net: Layer): NamedParameter[] {
  const names = new Map<unknown, string>();
  for (const [name, slot] of Object.entries(net.stateSlots())) if (!names.has(slot)) names.set(slot, name);
  return net.parameters().map((parameter, i) => [names.get(parameter) ?? `parameter ${i}`, parameter] as const);
}

/** The values of a parameter, for reading by code that does not keep them. */
export function valuesOf(parameter: Parameter): Float32Array {
  return parameter instanceof LearnedParameter ? parameter.values.now : parameter.data;
}

/** The values of a parameter, for writing. */
export function writableOf(parameter: Parameter): Float32Array {
  return parameter instanceof LearnedParameter ? parameter.values.writable : parameter.data;
}

/** Is it the scale or shift of a norm, or a bias? Where nothing says so, what has one axis is. */
export function isNormOrBias(parameter: Parameter): boolean {
  const { kind } = parameter as Partial<LearnedParameter>;
  return kind !== undefined || (listOf(parameter.shape)?.length ?? 2) < 2;
}

/**
 * Reads a list of parameters; those without a name are named by their place, from `first` on.
 *
 * @throws ERR_TYPE for anything but parameters
 */
export function readParameters(subject: string, argument: string, given: unknown, first = 0): Entry[] {
  const fail = () => {
    const isLayer = typeof (given as { parameters?: unknown } | null)?.parameters === 'function';
    const way = isLayer ? 'its parameters() are one' : undefined;
    return wrongKind('ERR_TYPE', subject, argument, 'an array of { data, grad } of equal lengths', show(given), way);
  };
  if (!Array.isArray(given)) throw fail();
  return Array.from(given, (one: unknown, i) => {
    const isPair = Array.isArray(one) && one.length === 2 && typeof one[0] === 'string';
    const [name, parameter] = (isPair ? one : [`${first + i}`, one]) as unknown as NamedParameter;
    if (typeof parameter !== 'object' || parameter === null) throw fail();
    const values = floatsOf(valuesOf(parameter));
    const grad = floatsOf(parameter.grad);
    if (!values || values.length !== grad?.length) throw fail();
    const shape = listOf(parameter.shape) as number[] | undefined;
    const isShape = shape && Array.from(shape).reduce((size, length) => size * length, 1) === values.length;
    return { name, parameter, shape: isShape ? Array.from(shape) : [values.length] };
  });
}

/**
 * Checks that no parameter, and no name, is in the lists twice: it would be moved twice, or its
 * state lost.
 */
export function checkOnce(subject: string, groups: readonly (readonly Entry[])[]): void {
  const seen = new Map<unknown, number>();
  const names = new Map<string, number>();
  groups.forEach((entries, group) => {
    for (const { name, parameter } of entries) {
      const values = valuesOf(parameter);
      const [before, namesake] = [seen.get(values), names.get(name)];
      if (before !== undefined || namesake !== undefined) {
        const other = before ?? namesake!;
        throw wrongValue(
          'ERR_OPTION',
          subject,
          'parameters',
          before === undefined ? 'different names' : 'each parameter once',
          `'${name}' twice`,
          other === group ? `group ${group}` : `groups ${other} and ${group}`,
        );
      }
      seen.set(values, group);
      names.set(name, group);
    }
  });
}
