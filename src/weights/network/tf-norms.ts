// Batch norm as tf.nn.batch_normalization writes it, in terms of constants:
//
//   a = rsqrt(variance + eps)·gamma;  y = x·a + (beta − mean·a)
//
// where gamma, beta or both may be missing.

import type { TfGraph } from './tf-graph.ts';
import type { TfNode } from './tf-nodes.ts';

interface Found {
  readonly inputs: readonly string[];
  readonly attributes: Readonly<Record<string, string | number>>;
  /** How many nodes it is written as. */
  readonly count: number;
}

/** A sum as the norm that it ends; undefined where it is not surely one. */
export function algebraicNorm(to: TfGraph, sum: TfNode): Found | undefined {
  const producer = (value: string, ...ops: string[]) => {
    const node = to.producer(value);
    return node && ops.includes(node.op) && node.name === value ? node : undefined;
  };
  const row = (value: string) => {
    const known = to.known(value);
    return known?.shape.length === 1 && /^B?F/.test(known.dtype) ? known.shape[0] : undefined;
  };
  for (const [product, rest] of pairs(sum)) {
    const scaled = producer(product, 'Mul');
    const shift = scaled && shiftOf(rest);
    if (!shift) continue;
    for (const [x, a] of pairs(scaled)) {
      const scale = a === shift.scale ? scaleOf(a) : undefined;
      if (!scale || to.known(x)) continue;
      const channels = row(scale.variance);
      const given = [scale.gamma, shift.beta, shift.mean].filter((name) => name !== undefined);
      if (channels === undefined || !given.every((name) => row(name) === channels)) continue;
      const fill = (value: number) => to.give(sum, 'F32', [channels], new Array<number>(channels).fill(value));
      const inputs = [x, scale.gamma ?? fill(1), shift.beta ?? fill(0), shift.mean, scale.variance];
      const count = 2 + shift.count + scale.count;
      return { inputs, attributes: { epsilon: scale.eps, layout: 'channels-last' }, count };
    }
  }
  return undefined;

  /** beta − mean·a, or −mean·a. */
  function shiftOf(value: string): { beta?: string; mean: string; scale: string; count: number } | undefined {
    const minus = producer(value, 'Sub');
    const negative = minus ? undefined : producer(value, 'Neg');
    const product = producer(minus?.inputs[1] ?? negative?.inputs[0] ?? value, 'Mul');
    if (!product) return undefined;
    const count = minus || negative ? 2 : 1;
    for (const [mean, scale] of pairs(product)) {
      const turned = count === 1 ? producer(mean, 'Neg') : undefined;
      if (count === 1 && !turned) continue;
      const from = turned ? turned.inputs[0] : mean;
      if (row(from) === undefined) continue;
      return { ...(minus && { beta: minus.inputs[0] }), mean: from, scale, count: turned ? 2 : count };
    }
    return undefined;
  }

  /** rsqrt(variance + eps), or that times gamma. */
  function scaleOf(value: string): { gamma?: string; variance: string; eps: number; count: number } | undefined {
    const root = producer(value, 'Rsqrt');
    if (!root) {
      const product = producer(value, 'Mul');
      for (const [inverse, gamma] of product ? pairs(product) : []) {
        const found = row(gamma) === undefined || !producer(inverse, 'Rsqrt') ? undefined : scaleOf(inverse);
        if (found) return { ...found, gamma, count: found.count + 1 };
      }
      return undefined;
    }
    const added = producer(root.inputs[0] ?? '', 'Add', 'AddV2');
    for (const [variance, epsilon] of added ? pairs(added) : []) {
      const known = to.known(epsilon);
      const isOne = known && known.shape.reduce((size, length) => size * length, 1) === 1 && known.shape.length <= 1;
      if (!isOne || row(variance) === undefined || !/^B?F/.test(known.dtype)) continue;
      const eps = (known.data as ArrayLike<number>)[0];
      if (eps >= 0) return { variance, eps, count: 2 };
    }
    return undefined;
  }
}

/** The two inputs of a node, either one first. */
function pairs({ inputs }: TfNode): readonly (readonly [string, string])[] {
  if (inputs.length !== 2) return [];
  const [a, b] = inputs;
  return [
    [a, b],
    [b, a],
  ];
}
