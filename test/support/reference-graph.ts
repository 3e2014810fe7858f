// Graphs in f64, as plain formulas: a builder that works a graph's function out in place of noting
// it down.

import {
  ActivationLayer,
  BatchNorm1d,
  Graph,
  type GraphBuilder,
  type Layer,
  Linear,
  Residual,
  Sequential,
  type Value,
} from '../../src/index.ts';
import { activate, activationCode } from '../../src/kernels/activations.ts';

export interface Array64 {
  readonly data: Float64Array;
  readonly shape: readonly number[];
}

/** The function of a graph. */
// biome-ignore lint/suspicious/noExplicitAny: values here are arrays
export type Build = (g: GraphBuilder, inputs: any) => any;

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Where an index of `shape` lies in an array that is repeated along it. */
function indexIn(own: readonly number[], shape: readonly number[], index: number): number {
  let [at, step, rest] = [0, 1, index];
  for (let axis = 1; axis <= shape.length; axis++) {
    const length = shape[shape.length - axis];
    const n = own[own.length - axis] ?? 1;
    if (n > 1) at += (rest % length) * step;
    rest = Math.floor(rest / length);
    step *= n;
  }
  return at;
}

function joined(a: Array64, b: Array64, f: (x: number, y: number) => number): Array64 {
  const rank = Math.max(a.shape.length, b.shape.length);
  const shape = Array.from({ length: rank }, (_, axis) => {
    const [m, n] = [a, b].map((one) => one.shape[axis - rank + one.shape.length] ?? 1);
    return m === 1 ? n : m;
  });
  const data = new Float64Array(size(shape)).map((_, i) =>
    f(a.data[indexIn(a.shape, shape, i)], b.data[indexIn(b.shape, shape, i)]),
  );
  return { data, shape };
}

function concatenated(values: readonly Array64[], given: number): Array64 {
  const axis = given < 0 ? given + values[0].shape.length : given;
  const shape = [...values[0].shape];
  shape[axis] = values.reduce((sum, value) => sum + value.shape[axis], 0);
  const inner = size(shape.slice(axis + 1));
  const data = new Float64Array(size(shape)).map((_, i) => {
    let at = Math.floor(i / inner) % shape[axis];
    const outer = Math.floor(i / inner / shape[axis]);
    for (const value of values) {
      if (at < value.shape[axis]) return value.data[(outer * value.shape[axis] + at) * inner + (i % inner)];
      at -= value.shape[axis];
    }
    return Number.NaN;
  });
  return { data, shape };
}

/** What a layer does in training, by the values of its parameters that `read` gives. */
export class Reference {
  readonly #read: (values: Float32Array) => ArrayLike<number>;
  readonly #builds: ReadonlyMap<Layer, Build>;

  constructor(read: (values: Float32Array) => ArrayLike<number>, builds: ReadonlyMap<Layer, Build>) {
    this.#read = read;
    this.#builds = builds;
  }

  run(layer: Layer, x: Array64): Array64 {
    if (layer instanceof Sequential) return layer.layers.reduce((value, one) => this.run(one, value), x);
    if (layer instanceof Residual) return this.add(this.run(layer.branch, x), x);
    if (layer instanceof ActivationLayer) {
      const { kind, alpha } = activationCode('test', layer.activation);
      return { shape: x.shape, data: x.data.map((value) => activate(kind, value, alpha)) };
    }
    if (layer instanceof Linear) {
      const { inFeatures: depth, outFeatures: cols } = layer;
      const weight = this.#read(layer.weight.data);
      const bias = layer.bias && this.#read(layer.bias.data);
      const rows = x.data.length / depth;
      const data = new Float64Array(rows * cols).map((_, i) => {
        const [n, o] = [Math.floor(i / cols), i % cols];
        let sum = bias ? bias[o] : 0;
        for (let k = 0; k < depth; k++) sum += x.data[n * depth + k] * weight[o * depth + k];
        return sum;
      });
      return { shape: [...x.shape.slice(0, -1), cols], data };
    }
    if (layer instanceof BatchNorm1d) {
      const [, channels, inner = 1] = x.shape;
      const [gamma, beta] = [this.#read(layer.gamma!.data), this.#read(layer.beta!.data)];
      const channelOf = (i: number) => Math.floor(i / inner) % channels;
      const count = x.data.length / channels;
      const mean = new Float64Array(channels);
      x.data.forEach((value, i) => {
        mean[channelOf(i)] += value / count;
      });
      const variance = new Float64Array(channels);
      x.data.forEach((value, i) => {
        variance[channelOf(i)] += (value - mean[channelOf(i)]) ** 2 / count;
      });
      const data = x.data.map((value, i) => {
        const c = channelOf(i);
        return ((value - mean[c]) / Math.sqrt(variance[c] + 1e-5)) * gamma[c] + beta[c];
      });
      return { shape: x.shape, data };
    }
    if (layer instanceof Graph) return this.apply('', layer, { [layer.inputs[0].name]: x }) as Array64;
    throw new Error(`no formula for ${layer.subject}`);
  }

  apply(_: string, layer: Layer, x: Array64 | Record<string, Array64>): Array64 | Record<string, Array64> {
    const build = this.#builds.get(layer);
    if (!build) return this.run(layer, x as Array64);
    const isBare = 'data' in x && 'shape' in x;
    return build(this as never, isBare ? { [(layer as Graph).inputs[0].name]: x } : x);
  }

  add(a: Array64, b: Array64): Array64 {
    return joined(a, b, (x, y) => x + y);
  }

  multiply(a: Array64, b: Array64): Array64 {
    return joined(a, b, (x, y) => x * y);
  }

  concat(values: readonly Array64[], axis: number): Array64 {
    return concatenated(values, axis);
  }
}

export type { Value };
