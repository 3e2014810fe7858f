// What is measured: batch norm through the layer on every shape and layout, and the other layers on
// shapes of their own. A case hands over its own work, the same as plain loops, and a check that
// they agree; nothing is timed that has not been checked.

import {
  BatchNorm,
  BatchNorm1d,
  BatchRenorm,
  type Layer,
  Linear,
  ReLU,
  Sequential,
  Sigmoid,
  Tanh,
  type Tensor,
  tensor,
  zeros,
} from '../src/index.ts';
import { backend } from '../src/kernels/backend.ts';
import * as inferenceLoops from '../src/kernels/inference/js.ts';
import * as linearLoops from '../src/kernels/linear/js.ts';
import { Random } from '../src/nn/random.ts';
import { convLayerCases, convnetCases } from './convnet-cases.ts';
import { kernelCases } from './kernels.ts';
import { measurePeak } from './peak.ts';
import {
  SAMPLE_NORM_SHAPES,
  type SampleNormShape,
  SampleNormWorkload,
  sampleNormLayoutsOf,
} from './sample-norm-workload.ts';
import { type BenchLayout, type BenchShape, layoutsOf, SHAPES } from './shapes.ts';
import { relativeDifference, Workload } from './workload.ts';

export interface BenchCase {
  readonly op: string;
  /** `nxc` or `ncx` for normalizations. */
  readonly layout: string;
  readonly shape: string;
  /** Bytes that must move at the least: each input read once, each output written once. */
  readonly bytes: number;
  /** Floating-point operations, where they and not bytes are the limit. */
  readonly flops?: number;
  readonly ours: () => unknown;
  readonly plain: () => void;
  /** memory.copy of as many bytes, half of them read and half written. */
  readonly copy?: () => void;
  /** Batch norm on the same values, for its variants. */
  readonly batchNorm?: () => unknown;
  /** Flops a second of multiply-adds in registers, measured now. */
  readonly peak?: () => number;
  /** Largest difference between the two results, over the largest value. */
  readonly difference: () => number;
  readonly dispose?: () => void;
}

/** All cases, each group made when its turn comes: the largest hold 400 MB. */
export function* cases(): Generator<BenchCase> {
  for (const shape of SHAPES) {
    for (const layout of layoutsOf(shape)) yield* normCases(shape, layout);
  }
  for (const shape of SAMPLE_NORM_SHAPES) {
    for (const layout of sampleNormLayoutsOf(shape)) yield* sampleNormCases(shape, layout);
  }
  for (const shape of SHAPES.filter(({ name }) => VARIED.includes(name))) {
    for (const layout of layoutsOf(shape)) yield* variantCases(shape, layout);
  }
  yield* linearCases();
  yield* activationCases();
  yield* compiledCases();
  yield* convnetCases();
  yield* convLayerCases();
  yield* kernelCases();
}

/**
 * A batch norm with a workload's parameters; by state dict, as a layer whose arrays nobody holds
 * need not look whether they have changed.
 */
export function layerFor({ layout, gamma, beta, runningMean, runningVar }: Workload, activation?: 'relu'): BatchNorm {
  const bn = new BatchNorm(gamma.length, { layout, activation });
  const state = bn.stateDict();
  for (const [name, data] of Object.entries({ gamma, beta, runningMean, runningVar })) state[name].data = data;
  bn.loadStateDict(state);
  return bn;
}

function normCases(shape: BenchShape, layout: BenchLayout): BenchCase[] {
  const work = new Workload(shape, layout);
  const { stored, extent, y } = work;
  const { kernel, size, channels } = extent;
  const [tx, tdy, tr] = [work.x, work.dy, work.residual].map((data) => tensor(data, stored));
  const ty = zeros(stored);
  const [bn, relu] = [layerFor(work), layerFor(work, 'relu')];
  const plainX = { data: work.x, shape: stored };
  const plainY = { data: new Float32Array(size), shape: stored };
  const agree = (data: () => Float32Array) => () => relativeDifference(data(), y);
  const onTensors = agree(() => ty.data);
  const common = { layout: kernel, shape: `${shape.name} ${stored.join('x')}` };
  const make = (
    op: string,
    traffic: number,
    ours: () => unknown,
    plain: () => void,
    difference = onTensors,
  ): BenchCase => ({
    ...common,
    op,
    bytes: size * traffic,
    ours,
    plain,
    difference,
    copy: copyOf(tx, ty, size * traffic),
  });
  const result = [
    make(
      'eval',
      8,
      () => bn.eval().forward(tx, { out: ty }),
      () => work.evaluate(),
    ),
    make(
      'eval, relu',
      8,
      () => relu.eval().forward(tx, { out: ty }),
      () => work.evaluate(1),
    ),
    make(
      'eval, residual',
      12,
      () => bn.eval().forward(tx, { out: ty, residual: tr }),
      () => work.evaluate(0, work.residual),
    ),
    make(
      'eval, arrays',
      8,
      () => bn.eval().forward(plainX, { out: plainY }),
      () => work.evaluate(),
      agree(() => plainY.data),
    ),
  ];
  if (size > channels) {
    result.push(
      make(
        'train',
        8,
        () => bn.train().forward(tx, { out: ty }),
        () => work.train(),
      ),
      make(
        'backward',
        12,
        () => bn.backward(tdy, { out: ty }),
        () => work.backward(),
        () => {
          bn.train().forward(tx, { out: ty });
          work.train();
          bn.backward(tdy, { out: ty });
          work.backward();
          return onTensors();
        },
      ),
    );
  }
  return closing(result, () => {
    for (const held of [tx, tdy, tr, ty, bn, relu]) held.dispose();
  });
}

/** Layer, RMS, group and instance norm. */
function sampleNormCases(shape: SampleNormShape, layout: BenchLayout): BenchCase[] {
  const work = new SampleNormWorkload(shape, layout);
  const { stored, size, y } = work;
  const [tx, tdy] = [work.x, work.dy].map((data) => tensor(data, stored));
  const ty = zeros(stored);
  const layer = work.layer();
  const forward = () => layer.forward(tx as never, { out: ty });
  const common = {
    layout: shape.dims.length === 2 ? 'rows' : layout === 'channels-last' ? 'nxc' : 'ncx',
    shape: `${shape.name} ${stored.join('x')}${shape.groups ? `, ${shape.groups} groups` : ''}`,
  };
  const difference = () => relativeDifference(ty.data, y);
  return closing(
    [
      {
        ...common,
        op: shape.op,
        bytes: size * 8,
        ours: forward,
        plain: () => work.forward(),
        copy: copyOf(tx, ty, size * 8),
        difference,
      },
      {
        ...common,
        op: `${shape.op}, backward`,
        bytes: size * 12,
        ours: () => layer.backward(tdy, { out: ty }),
        plain: () => work.backward(),
        copy: copyOf(tx, ty, size * 12),
        difference: () => {
          forward();
          work.forward();
          layer.backward(tdy, { out: ty });
          work.backward();
          return difference();
        },
      },
    ],
    () => {
      for (const held of [tx, tdy, ty, layer]) held.dispose();
    },
  );
}

/** Shapes on which variants of batch norm are held against batch norm itself. */
const VARIED = ['mlp/hidden', 'resnet50/conv2 eight', 'resnet50/conv2', 'resnet50/conv3'];

/** Batch renormalization, virtual batches and masks: batch norm's work and a little more. */
function variantCases(shape: BenchShape, layout: BenchLayout): BenchCase[] {
  const work = new Workload(shape, layout);
  const { stored, extent, y } = work;
  const { kernel, size } = extent;
  const [tx, tdy] = [work.x, work.dy].map((data) => tensor(data, stored));
  const ty = zeros(stored);
  const bn = layerFor(work);
  // bounds at which it is batch norm, so that the plain loops say what it must give
  const renorm = new BatchRenorm(extent.channels, { layout, rMax: 1, dMax: 0 });
  renorm.loadStateDict(bn.stateDict());
  const masked = layerFor(work);
  const mask = { data: work.mask(), shape: stored.toSpliced(layout === 'channels-last' ? -1 : 1, 1) };
  const common = { layout: kernel, shape: `${shape.name} ${stored.join('x')}` };
  const difference = () => relativeDifference(ty.data, y);
  const variant = (name: string, layer: BatchNorm, options: object, plainMask?: Uint8Array): BenchCase[] => {
    const forward = () => layer.train().forward(tx, { out: ty, ...options });
    const make = (op: string, traffic: number, ours: () => unknown, plain: () => void, batchNorm: () => unknown) => ({
      ...common,
      op: `${name}, ${op}`,
      bytes: size * traffic,
      ours,
      plain,
      batchNorm,
      copy: copyOf(tx, ty, size * traffic),
      difference: () => {
        forward();
        work.train(plainMask);
        if (op === 'train') return difference();
        ours();
        plain();
        return difference();
      },
    });
    const train = () => work.train(plainMask);
    const backward = () => work.backward(plainMask);
    return [
      make('train', 8, forward, train, () => bn.train().forward(tx, { out: ty })),
      make(
        'backward',
        12,
        () => layer.backward(tdy, { out: ty }),
        backward,
        () => bn.backward(tdy, { out: ty }),
      ),
    ];
  };
  bn.train().forward(tx, { out: ty });
  return closing([...variant('renorm', renorm, {}), ...variant('mask', masked, { mask }, mask.data)], () => {
    for (const held of [tx, tdy, ty, bn, renorm, masked]) held.dispose();
  });
}

/** Attaches the end of a group to its last case. */
function closing(cases: BenchCase[], dispose: () => void): BenchCase[] {
  cases.push({ ...cases.pop()!, dispose });
  return cases;
}

function linearCases(): BenchCase[] {
  const sizes = [
    [192, 512, 512],
    [64, 784, 100],
    [1, 784, 100],
  ];
  return sizes.map(([rows, depth, cols]) => {
    const random = new Random(3);
    const x = Float32Array.from({ length: rows * depth }, () => random.normal());
    const linear = new Linear(depth, cols, { seed: 1 });
    const { weight, bias } = linear.stateDict();
    const packed = new Float32Array(Math.ceil(cols / 8) * 8 * depth);
    linearLoops.pack_f32(weight.data as Float32Array, packed, depth, cols, 1, depth);
    const y = new Float32Array(rows * cols);
    const [tx, ty] = [tensor(x, [rows, depth]), zeros([rows, cols])];
    return {
      op: rows === 1 ? 'GEMV' : 'GEMM',
      layout: '',
      shape: `${rows}x${depth}x${cols}`,
      bytes: 4 * (x.length + weight.data.length + y.length),
      flops: 2 * rows * depth * cols,
      ours: () => linear.forward(tx, { out: ty }),
      plain: () => linearLoops.linear_f32(x, packed, bias.data as Float32Array, y, rows, depth, cols, depth, 1, 0),
      peak: measurePeak,
      difference: () => relativeDifference(ty.data, y),
      dispose: () => {
        for (const held of [tx, ty, linear]) held.dispose();
      },
    };
  });
}

function activationCases(): BenchCase[] {
  const shape = [64, 1024];
  const random = new Random(3);
  const x = Float32Array.from({ length: shape[0] * shape[1] }, () => 2 * random.normal());
  const y = new Float32Array(x.length);
  const [tx, ty] = [tensor(x, shape), zeros(shape)];
  const layers: [Layer, number][] = [
    [new ReLU(), 1],
    [new Sigmoid(), 6],
    [new Tanh(), 7],
  ];
  const cases = layers.map(([layer, kind]) => ({
    op: layer.subject,
    layout: '',
    shape: shape.join('x'),
    bytes: 8 * x.length,
    ours: () => layer.forward(tx, { out: ty }),
    plain: () => inferenceLoops.activate_f32(x, y, kind, 0, x.length),
    copy: copyOf(tx, ty, 8 * x.length),
    difference: () => relativeDifference(ty.data, y),
  }));
  return closing(cases, () => {
    tx.dispose();
    ty.dispose();
  });
}

/**
 * The digits network of the examples: 784-100-100-100-10 with batch norm and tanh, made from a
 * seed.
 */
export function digitsNetwork(): Sequential {
  const hidden = (inputs: number, seed: number) => [
    new Linear(inputs, 100, { seed }),
    new BatchNorm1d(100),
    new Tanh(),
  ];
  const net = new Sequential(...hidden(784, 1), ...hidden(100, 2), ...hidden(100, 3), new Linear(100, 10, { seed: 4 }));
  // running statistics that are not 0 and 1
  net.forward({ data: digitsInput(64), shape: [64, 784] });
  return net.eval();
}

export function digitsInput(rows: number): Float32Array {
  const random = new Random(5);
  return Float32Array.from({ length: rows * 784 }, () => Math.max(0, random.normal()));
}

function compiledCases(): BenchCase[] {
  const net = digitsNetwork();
  const run = net.compile();
  return [1, 64].map((rows) => {
    const x = { data: digitsInput(rows), shape: [rows, 784] };
    const [tx, ty] = [tensor(x.data, x.shape), zeros([rows, 10])];
    return {
      op: 'compiled MLP',
      layout: '',
      shape: `batch ${rows}, 784-100-100-100-10`,
      bytes: 4 * (784 * 100 + 2 * 100 * 100 + 100 * 10),
      flops: 2 * rows * (784 * 100 + 2 * 100 * 100 + 100 * 10),
      ours: () => run(tx, { out: ty }),
      plain: () => net.forward(x), // the network itself, layer by layer
      peak: measurePeak,
      difference: () => relativeDifference(ty.data, net.forward(x).data),
      dispose: () => {
        tx.dispose();
        ty.dispose();
      },
    };
  });
}

/** memory.copy between two tensors, as often as it takes to move `bytes`. */
function copyOf(from: Tensor, to: Tensor, bytes: number): () => void {
  const { kernels } = backend();
  const whole = from.size;
  const times = bytes / (whole * 8);
  return () => {
    for (let left = times; left > 0; left--)
      kernels.activate_f32(from.ptr, to.ptr, 0, 0, Math.floor(whole * Math.min(left, 1)));
  };
}
