// What is measured: each verb of the kernel table and each layer, beside the same work done by the plain loops. A case hands over both
// and a check that they agree; nothing is timed that has not been checked.

import {
  BatchNorm,
  Dropout,
  type Layer,
  Linear,
  ReLU,
  Sigmoid,
  Tanh,
  type Tensor,
  tensor,
  zeros,
} from '../dist/index.js';
import { backend } from '../dist/kernels/backend.js';
import * as js from '../dist/kernels/js.js';
import { Random } from '../dist/nn/random.js';
import { type BenchLayout, type BenchShape, extentOf, SHAPES, storedShape } from './shapes.ts';

export interface BenchCase {
  /** `affine ncx resnet50/layer1 32x64x56x56` */
  readonly name: string;
  /** Bytes that must move at the least: each input read once, each output written once. */
  readonly bytes: number;
  readonly ours: () => void;
  readonly plain: () => void;
  /** memory.copy of as many bytes; half of them read, half written. */
  readonly copy: () => void;
  /** Largest difference between the two results, over the largest value. */
  readonly difference: () => number;
  readonly dispose: () => void;
}

/** Makes the cases one after the other: the largest hold 100 MB each. */
export function* cases(): Generator<() => BenchCase[]> {
  for (const shape of SHAPES) {
    const layouts: BenchLayout[] = shape.dims.length > 2 ? ['channels-first', 'channels-last'] : ['channels-first'];
    for (const layout of layouts) yield () => normCases(shape, layout);
  }
  yield networkCases;
}

function normCases(shape: BenchShape, layout: BenchLayout): BenchCase[] {
  const { kernel, outer, channels, inner, size } = extentOf(shape, layout);
  const stored = storedShape(shape, layout);
  const label = `${kernel} ${shape.name} ${stored.join('x')}`;
  const random = new Random(7);
  const fill = (length: number, mean = 0, std = 1) => Float32Array.from({ length }, () => mean + std * random.normal());

  const x = fill(size, 2, 3);
  const dy = fill(size);
  const gamma = fill(channels, 1, 0.1);
  const beta = fill(channels);
  const [tx, tdy, ty] = [tensor(x, stored), tensor(dy, stored), zeros(stored)];
  const y = new Float32Array(size);

  const bn = new BatchNorm(channels, { layout });
  const relu = new BatchNorm(channels, { layout, activation: 'relu' });
  for (const layer of [bn, relu]) {
    // by state dict: a layer whose arrays nobody holds need not look whether they have changed
    const state = layer.stateDict();
    state.gamma.data.set(gamma);
    state.beta.data.set(beta);
    state.runningMean.data.fill(1.5);
    state.runningVar.data.fill(8);
    layer.loadStateDict(state);
  }

  // the plain loops' own vectors
  const f64 = () => new Float64Array(channels);
  const f32 = () => new Float32Array(channels);
  const [mean, variance, dbeta, dgamma] = [f64(), f64(), f64(), f64()];
  const [center, shift, invStd, scale] = [f32(), f32(), f32(), f32()];
  const [a, b, k, pivot] = [f32(), f32(), f32(), f32()];
  const count = size / channels;
  const stride = channels * inner;
  const stats = (from: Float32Array) =>
    kernel === 'ncx'
      ? js.stats_ncx_f32(from, pivot, null, mean, variance, outer, channels, inner, stride)
      : js.stats_nxc_f32(from, pivot, null, mean, variance, outer, channels, channels);
  const derive = () => {
    for (let c = 0; c < channels; c++) {
      center[c] = mean[c];
      invStd[c] = 1 / Math.sqrt(variance[c] + 1e-5);
      scale[c] = gamma[c] * invStd[c];
      shift[c] = beta[c];
    }
  };
  const [evalScale, evalShift] = [f32(), f32()];
  const plainEval = (kind: number) => {
    for (let c = 0; c < channels; c++) {
      evalScale[c] = gamma[c] / Math.sqrt(8 + 1e-5);
      evalShift[c] = beta[c] - 1.5 * evalScale[c];
    }
    if (kernel === 'ncx')
      js.affine_ncx_f32(x, null, evalScale, evalShift, null, y, kind, 0, outer, channels, inner, stride);
    else js.affine_nxc_f32(x, null, evalScale, evalShift, null, y, kind, 0, outer, channels);
  };
  const plainTrain = () => {
    stats(x);
    derive();
    if (kernel === 'ncx') js.affine_ncx_f32(x, center, scale, shift, null, y, 0, 0, outer, channels, inner, stride);
    else js.affine_nxc_f32(x, center, scale, shift, null, y, 0, 0, outer, channels);
  };
  const plainBackward = () => {
    if (kernel === 'ncx')
      js.grad_stats_ncx_f32(x, dy, center, invStd, null, dbeta, dgamma, outer, channels, inner, stride);
    else js.grad_stats_nxc_f32(x, dy, center, invStd, null, dbeta, dgamma, outer, channels, channels);
    for (let c = 0; c < channels; c++) {
      a[c] = scale[c];
      b[c] = (dgamma[c] / count) * invStd[c];
      k[c] = dbeta[c] / count;
    }
    if (kernel === 'ncx') js.grad_input_ncx_f32(x, dy, center, a, b, k, y, outer, channels, inner, stride);
    else js.grad_input_nxc_f32(x, dy, center, a, b, k, y, outer, channels);
  };

  let held = 2;
  const dispose = () => {
    if (--held > 0) return;
    for (const t of [tx, tdy, ty]) t.dispose();
    bn.dispose();
    relu.dispose();
  };
  const make = (
    name: string,
    traffic: number,
    ours: () => void,
    plain: () => void,
    difference: () => number,
  ): BenchCase => {
    held++;
    return {
      name: `${name} ${label}`,
      bytes: size * traffic,
      ours,
      plain,
      difference,
      dispose,
      copy: copyOf(tx, ty, size * traffic),
    };
  };
  const compareOutput = () => relativeDifference(ty.data, y);
  const result = [
    make(
      'BatchNorm eval',
      8,
      () => bn.eval().forward(tx, { out: ty }),
      () => plainEval(0),
      compareOutput,
    ),
    make(
      'BatchNorm+relu eval',
      8,
      () => relu.eval().forward(tx, { out: ty }),
      () => plainEval(1),
      compareOutput,
    ),
  ];
  if (count > 1) {
    result.push(
      make('BatchNorm train', 8, () => bn.train().forward(tx, { out: ty }), plainTrain, compareOutput),
      make(
        'BatchNorm backward',
        12,
        () => bn.backward(tdy, { out: ty }),
        plainBackward,
        () => {
          bn.train().forward(tx, { out: ty });
          plainTrain();
          bn.backward(tdy, { out: ty });
          plainBackward();
          return compareOutput();
        },
      ),
    );
  }
  held -= 2;
  return result;
}

/** The other layers, on one batch of a hidden layer. */
function networkCases(): BenchCase[] {
  const [rows, features, outputs] = [64, 1024, 256];
  const random = new Random(3);
  const x = Float32Array.from({ length: rows * features }, () => random.normal());
  const dy = Float32Array.from({ length: rows * outputs }, () => random.normal());
  const tx = tensor(x, [rows, features]);
  const result: BenchCase[] = [];

  const linear = new Linear(features, outputs, { seed: 1 });
  const weight = Float32Array.from(linear.stateDict().weight.data);
  const bias = Float32Array.from(linear.stateDict().bias.data);
  const packed = new Float32Array(weight.length);
  js.pack_f32(weight, packed, features, outputs, 1, features);
  const packedBack = new Float32Array(weight.length);
  js.pack_f32(weight, packedBack, outputs, features, features, 1);
  const packedX = new Float32Array(x.length);
  js.pack_f32(x, packedX, rows, features, features, 1);
  const [ty, tdx, tdy] = [zeros([rows, outputs]), zeros([rows, features]), tensor(dy, [rows, outputs])];
  const [y, dx, dw] = [new Float32Array(dy.length), new Float32Array(x.length), new Float32Array(weight.length)];
  const bytes = 4 * (x.length + weight.length + y.length);
  result.push(
    {
      name: `Linear forward ${rows}x${features} → ${outputs}`,
      bytes,
      ours: () => linear.forward(tx, { out: ty }),
      plain: () => js.linear_f32(x, packed, bias, y, 0, 0, rows, features, outputs, features, 1, 0),
      copy: copyOf(tx, tdx, bytes),
      difference: () => relativeDifference(ty.data, y),
      dispose() {},
    },
    {
      name: `Linear backward ${rows}x${features} → ${outputs}`,
      bytes: 2 * bytes,
      ours: () => linear.backward(tdy, { out: tdx }),
      plain: () => {
        js.linear_f32(dy, packedBack, null, dx, 0, 0, rows, outputs, features, outputs, 1, 0);
        js.linear_f32(dy, packedX, null, dw, 0, 0, outputs, rows, features, 1, outputs, 0);
      },
      copy: copyOf(tx, tdx, 2 * bytes),
      difference: () => relativeDifference(tdx.data, dx),
      dispose() {},
    },
  );
  const elementwise: [Layer, number][] = [
    [new ReLU(), 1],
    [new Sigmoid(), 6],
    [new Tanh(), 7],
  ];
  for (const [layer, kind] of elementwise) {
    result.push({
      name: `${layer.subject} forward ${rows}x${features}`,
      bytes: 8 * x.length,
      ours: () => layer.forward(tx, { out: tdx }),
      plain: () => js.activate_f32(x, dx, kind, 0, x.length),
      copy: copyOf(tx, tdx, 8 * x.length),
      difference: () => relativeDifference(tdx.data, dx),
      dispose() {},
    });
  }
  const dropout = new Dropout(0.5, { seed: 1 });
  result.push({
    name: `Dropout forward ${rows}x${features}`,
    bytes: 8 * x.length,
    ours: () => dropout.forward(tx, { out: tdx }),
    plain: () => js.dropout_f32(x, dx, 1, 2 ** 31, 2, x.length),
    copy: copyOf(tx, tdx, 8 * x.length),
    // the masks differ; what is kept must be twice the input
    difference: () => Math.max(...tdx.data.map((value, i) => (value === 0 ? 0 : Math.abs(value - 2 * x[i])))),
    dispose() {},
  });
  return result;
}

/** memory.copy between two tensors, as often as it takes to move `bytes`. */
function copyOf(from: Tensor, to: Tensor, bytes: number): () => void {
  const { kernels } = backend();
  const size = Math.min(from.size, to.size);
  const times = bytes / (size * 8);
  return () => {
    for (let left = times; left > 0; left--)
      kernels.activate_f32(from.ptr, to.ptr, 0, 0, Math.floor(size * Math.min(left, 1)));
  };
}

function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let worst = 0;
  let largest = 1e-30;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    const difference = Math.abs(actual[i] - expected[i]);
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return worst / largest;
}
