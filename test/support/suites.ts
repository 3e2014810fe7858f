// Reader of the cases of other projects' test suites in test/fixtures/suites; see the README there.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

export interface SuiteCase {
  readonly suite: 'wpt' | 'baseline' | 'keras';
  readonly name: string;
  readonly op: 'batch' | 'instance' | 'layer' | 'group' | 'rms';
  readonly x: Numbers;
  readonly mean?: Numbers;
  readonly variance?: Numbers;
  readonly scale?: Numbers;
  readonly bias?: Numbers;
  readonly options: {
    readonly axis?: number;
    readonly axes?: readonly number[];
    readonly epsilon?: number;
    readonly layout?: 'nchw' | 'nhwc';
    readonly groups?: number;
  };
  readonly y: number[];
}

export interface OnnxCase {
  readonly name: string;
  readonly op: SuiteCase['op'] | 'meanVariance';
  readonly attributes: {
    readonly epsilon?: number;
    readonly axis?: number;
    readonly num_groups?: number;
    readonly training_mode?: number;
  };
  readonly inputs: Numbers[];
  readonly outputs: Numbers[];
  readonly rtol: number;
  readonly atol: number;
}

const read = <T>(name: string): T[] =>
  JSON.parse(readFileSync(fileURLToPath(new URL(`../fixtures/suites/${name}`, import.meta.url)), 'utf8'));

const SUITES: Record<SuiteCase['suite'], string> = {
  wpt: 'web-platform-tests',
  baseline: 'webnn-baseline',
  keras: 'Keras',
};

const all = [...read<SuiteCase>('webnn.json'), ...read<SuiteCase>('by-hand.json')];

/** The cases of some operations, each with a title that names its suite. */
export function suiteCases(...ops: SuiteCase['op'][]): [string, SuiteCase][] {
  return all
    .filter(({ op }) => ops.includes(op))
    .map((one): [string, SuiteCase] => [`${SUITES[one.suite]}, ${one.name}`, one]);
}

export const onnxCases = read<OnnxCase>('onnx.json').map((one): [string, OnnxCase] => [`ONNX, ${one.name}`, one]);

/** How many f32 values lie from one to the other; Infinity where one is NaN. */
export function ulps(a: number, b: number): number {
  const [p, q] = [a, b].map((value) => {
    const word = new Int32Array(Float32Array.of(value).buffer)[0];
    return word < 0 ? -(word & 0x7fffffff) : word;
  });
  return Number.isNaN(a) || Number.isNaN(b) ? Number.POSITIVE_INFINITY : Math.abs(p - q);
}

/** One unit in the last place of an f32 value. */
export function ulpOf(value: number): number {
  return 2 ** (Math.max(Math.floor(Math.log2(Math.abs(value))), -126) - 23);
}

/** A tensor with its axes in another order. */
export function permute({ shape, data }: Numbers, order: readonly number[]): Numbers {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, length) => product * length, 1));
  const lengths = order.map((axis) => shape[axis]);
  const moved = data.map((_, i) => {
    let from = 0;
    for (let k = order.length - 1, rest = i; k >= 0; k--) {
      from += (rest % lengths[k]) * strides[order[k]];
      rest = Math.floor(rest / lengths[k]);
    }
    return data[from];
  });
  return { shape: lengths, data: moved };
}
