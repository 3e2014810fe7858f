// What is measured: batch norm through the layer on every shape and layout, and the other layers on
// shapes of their own. A case hands over its own work, the same as plain loops, and a check that
// they agree; nothing is timed that has not been checked. Names come first, without any data.

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
import { plainDigitsNetwork } from './plain-networks.ts';
import {
  SAMPLE_NORM_SHAPES,
  type SampleNormShape,
  SampleNormWorkload,
  sampleNormLayoutsOf,
} from './sample-norm-workload.ts';
import { type BenchLayout, type BenchShape, extentOf, layoutsOf, SHAPES, storedShape } from './shapes.ts';
import type { Work } from './timing.ts';
import { relativeDifference, Workload } from './workload.ts';

/** What a case is called. */
export interface CaseName {
  readonly op: string;
  /** `nxc` or `ncx` for normalizations. */
  readonly layout: string;
  readonly shape: string;
  /** Other words that the case is found by, as the README writes them, with commas between. */
  readonly also?: string;
}

/** What is timed of a case. */
export interface CaseWork {
  /** Bytes that must move at the least: each input read once, each output written once. */
  readonly bytes: number;
  /** Floating-point operations, where they and not bytes are the limit. */
  readonly flops?: number;
  readonly ours: Work;
  /** The same work in plain loops. */
  readonly plain: () => void;
  /** memory.copy of as many bytes, half of them read and half written. */
  readonly copy?: () => void;
  /** Batch norm on the same values, for its variants. */
  readonly batchNorm?: () => unknown;
  /** The network itself, layer by layer, for compiled networks. */
  readonly layers?: () => unknown;
  /** A user's own function. */
  readonly own?: Work;
  /** Flops a second of multiply-adds in registers, measured now. */
  readonly peak?: () => number;
  /** Called once before anything is timed, for work that goes on where other work has ended. */
  readonly before?: () => void;
  /** Largest difference between the two results, over the largest value. */
  readonly difference: () => number;
}

/**
 * Cases on the same data. Their names are known before the data are made: the largest hold 400 MB.
 */
export interface CaseGroup {
  readonly names: readonly CaseName[];
  /** The work of each case, by its op. */
  make(): { readonly works: Readonly<Record<string, CaseWork>>; dispose(): void };
}

/** All cases. */
export function caseGroups(): CaseGroup[] {
  return [
    ...SHAPES.flatMap((shape) => layoutsOf(shape).map((layout) => normCases(shape, layout))),
    ...SAMPLE_NORM_SHAPES.flatMap((shape) =>
      sampleNormLayoutsOf(shape).map((layout) => sampleNormCases(shape, layout)),
    ),
    ...SHAPES.filter(({ name }) => VARIED.includes(name)).flatMap((shape) =>
      layoutsOf(shape).map((layout) => variantCases(shape, layout)),
    ),
    ...linearCases(),
    activationCases(),
    ...compiledCases(),
    ...convnetCases(),
    ...convLayerCases(),
    ...kernelCases(),
  ];
}

/**
 * A batch of `dims` as the README names it: its layout, its size, and its dims with channels first.
 */
function wordsOf(stored: readonly number[], dims: readonly number[], layout: BenchLayout): string {
  const megabytes = Number(((4 * stored.reduce((size, length) => size * length, 1)) / 1e6).toFixed(1));
  return [layout.replace('-', ' '), `${megabytes} MB`, layout === 'channels-last' && `logical ${dims.join('x')}`]
    .filter(Boolean)
    .join(', ');
}

const OP_WORDS: Readonly<Record<string, string>> = {
  eval: 'evaluation',
  train: 'training forward',
  backward: 'backward',
};

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

/** The README's words for an op of batch norm on a shape. */
export function normWords(op: string, shape: BenchShape, layout: BenchLayout): string {
  return `batch norm, ${OP_WORDS[op.split(',')[0]]}, ${wordsOf(storedShape(shape, layout), shape.dims, layout)}`;
}

function normCases(shape: BenchShape, layout: BenchLayout): CaseGroup {
  const { kernel, size, channels } = extentOf(shape, layout);
  const stored = storedShape(shape, layout);
  const ops = [
    'eval',
    'eval, relu',
    'eval, residual',
    'eval, arrays',
    ...(size > channels ? ['train', 'backward'] : []),
  ];
  const common = { layout: kernel, shape: `${shape.name} ${stored.join('x')}` };
  return {
    names: ops.map((op) => ({ ...common, op, also: normWords(op, shape, layout) })),
    make: () => normWorks(shape, layout),
  };
}

function normWorks(shape: BenchShape, layout: BenchLayout) {
  const work = new Workload(shape, layout);
  const { stored, extent, y } = work;
  const { size, channels } = extent;
  const [tx, tdy, tr] = [work.x, work.dy, work.residual].map((data) => tensor(data, stored));
  const ty = zeros(stored);
  const [bn, relu] = [layerFor(work), layerFor(work, 'relu')];
  const plainX = { data: work.x, shape: stored };
  const plainY = { data: new Float32Array(size), shape: stored };
  const agree = (data: () => Float32Array) => () => relativeDifference(data(), y);
  const onTensors = agree(() => ty.data);
  const make = (traffic: number, ours: () => unknown, plain: () => void, difference = onTensors): CaseWork => ({
    bytes: size * traffic,
    ours,
    plain,
    difference,
    copy: copyOf(tx, ty, size * traffic),
  });
  const works: Record<string, CaseWork> = {
    eval: make(
      8,
      () => bn.eval().forward(tx, { out: ty }),
      () => work.evaluate(),
    ),
    'eval, relu': make(
      8,
      () => relu.eval().forward(tx, { out: ty }),
      () => work.evaluate(1),
    ),
    'eval, residual': make(
      12,
      () => bn.eval().forward(tx, { out: ty, residual: tr }),
      () => work.evaluate(0, work.residual),
    ),
    'eval, arrays': make(
      8,
      () => bn.eval().forward(plainX, { out: plainY }),
      () => work.evaluate(),
      agree(() => plainY.data),
    ),
  };
  if (size > channels) {
    works.train = make(
      8,
      () => bn.train().forward(tx, { out: ty }),
      () => work.train(),
    );
    const backward = () => bn.backward(tdy, { out: ty });
    // both begin where a training forward has ended
    const trained = () => {
      bn.train().forward(tx, { out: ty });
      work.train();
    };
    works.backward = {
      ...make(12, backward, () => work.backward()),
      before: trained,
      difference: () => {
        trained();
        backward();
        work.backward();
        return onTensors();
      },
    };
  }
  return { works, dispose: () => disposeAll(tx, tdy, tr, ty, bn, relu) };
}

function disposeAll(...held: { dispose(): void }[]): void {
  for (const one of held) one.dispose();
}

/** What the cases of layer, RMS, group and instance norm are called. */
export function sampleNormNames(shape: SampleNormShape, layout: BenchLayout): CaseName[] {
  const isRows = shape.dims.length === 2;
  const stored = isRows ? shape.dims : storedShape(shape, layout);
  const common = {
    layout: isRows ? 'rows' : layout === 'channels-last' ? 'nxc' : 'ncx',
    shape: `${shape.name} ${stored.join('x')}${shape.groups ? `, ${shape.groups} groups` : ''}`,
    also: isRows ? '' : wordsOf(stored, shape.dims, layout),
  };
  return [
    { ...common, op: shape.op, also: `forward, ${common.also}` },
    { ...common, op: `${shape.op}, backward` },
  ];
}

/** Layer, RMS, group and instance norm. */
function sampleNormCases(shape: SampleNormShape, layout: BenchLayout): CaseGroup {
  return {
    names: sampleNormNames(shape, layout),
    make() {
      const work = new SampleNormWorkload(shape, layout);
      const { stored, size, y } = work;
      const [tx, tdy] = [work.x, work.dy].map((data) => tensor(data, stored));
      const ty = zeros(stored);
      const layer = work.layer();
      const forward = () => layer.forward(tx as never, { out: ty });
      const backward = () => layer.backward(tdy, { out: ty });
      const difference = () => relativeDifference(ty.data, y);
      const trained = () => {
        forward();
        work.forward();
      };
      const works: Record<string, CaseWork> = {
        [shape.op]: {
          bytes: size * 8,
          ours: forward,
          plain: () => work.forward(),
          copy: copyOf(tx, ty, size * 8),
          difference,
        },
        [`${shape.op}, backward`]: {
          bytes: size * 12,
          ours: backward,
          plain: () => work.backward(),
          copy: copyOf(tx, ty, size * 12),
          before: trained,
          difference: () => {
            trained();
            backward();
            work.backward();
            return difference();
          },
        },
      };
      return { works, dispose: () => disposeAll(tx, tdy, ty, layer) };
    },
  };
}

/** Shapes on which variants of batch norm are held against batch norm itself. */
const VARIED = ['mlp/hidden', 'resnet50/conv2 eight', 'resnet50/conv2', 'resnet50/conv3'];

/** Batch renormalization and masks: batch norm's work and a little more. */
function variantCases(shape: BenchShape, layout: BenchLayout): CaseGroup {
  const { kernel } = extentOf(shape, layout);
  const stored = storedShape(shape, layout);
  const words = wordsOf(stored, shape.dims, layout);
  const called = { renorm: 'batch renormalization', mask: 'masked batches' };
  return {
    names: Object.entries(called).flatMap(([name, long]) =>
      ['train', 'backward'].map((op) => ({
        op: `${name}, ${op}`,
        layout: kernel,
        shape: `${shape.name} ${stored.join('x')}`,
        also: `${long}, ${OP_WORDS[op]}, ${words}`,
      })),
    ),
    make: () => variantWorks(shape, layout),
  };
}

function variantWorks(shape: BenchShape, layout: BenchLayout) {
  const work = new Workload(shape, layout);
  const { stored, extent, y } = work;
  const { size } = extent;
  const [tx, tdy] = [work.x, work.dy].map((data) => tensor(data, stored));
  const ty = zeros(stored);
  const bn = layerFor(work);
  // bounds at which it is batch norm, so that the plain loops say what it must give
  const renorm = new BatchRenorm(extent.channels, { layout, rMax: 1, dMax: 0 });
  renorm.loadStateDict(bn.stateDict());
  const masked = layerFor(work);
  const mask = { data: work.mask(), shape: stored.toSpliced(layout === 'channels-last' ? -1 : 1, 1) };
  const works: Record<string, CaseWork> = {};
  const variant = (name: string, layer: BatchNorm, options: object, plainMask?: Uint8Array): void => {
    const forward = () => layer.train().forward(tx, { out: ty, ...options });
    const add = (op: string, traffic: number, ours: () => unknown, plain: () => void, batchNorm: () => unknown) => {
      const trained = () => {
        forward();
        work.train(plainMask);
      };
      works[`${name}, ${op}`] = {
        bytes: size * traffic,
        ours,
        plain,
        batchNorm,
        copy: copyOf(tx, ty, size * traffic),
        before: trained,
        difference: () => {
          trained();
          if (op === 'train') return relativeDifference(ty.data, y);
          ours();
          plain();
          return relativeDifference(ty.data, y);
        },
      };
    };
    add(
      'train',
      8,
      forward,
      () => work.train(plainMask),
      () => bn.train().forward(tx, { out: ty }),
    );
    add(
      'backward',
      12,
      () => layer.backward(tdy, { out: ty }),
      () => work.backward(plainMask),
      () => bn.backward(tdy, { out: ty }),
    );
  };
  bn.train().forward(tx, { out: ty });
  variant('renorm', renorm, {});
  variant('mask', masked, { mask }, mask.data);
  return { works, dispose: () => disposeAll(tx, tdy, ty, bn, renorm, masked) };
}

function linearCases(): CaseGroup[] {
  const sizes = [
    [192, 512, 512],
    [64, 784, 100],
    [1, 784, 100],
  ];
  return sizes.map(([rows, depth, cols]) => {
    const op = rows === 1 ? 'GEMV' : 'GEMM';
    return {
      names: [{ op, layout: '', shape: `${rows}x${depth}x${cols}`, also: 'linear layer' }],
      make() {
        const random = new Random(3);
        const x = Float32Array.from({ length: rows * depth }, () => random.normal());
        const linear = new Linear(depth, cols, { seed: 1 });
        const { weight, bias } = linear.stateDict();
        const packed = new Float32Array(Math.ceil(cols / 8) * 8 * depth);
        linearLoops.pack_f32(weight.data as Float32Array, packed, depth, cols, 1, depth, 8 * depth);
        const y = new Float32Array(rows * cols);
        const [tx, ty] = [tensor(x, [rows, depth]), zeros([rows, cols])];
        const work: CaseWork = {
          bytes: 4 * (x.length + weight.data.length + y.length),
          flops: 2 * rows * depth * cols,
          ours: () => linear.forward(tx, { out: ty }),
          plain: () => linearLoops.linear_f32(x, packed, bias.data as Float32Array, y, rows, depth, cols, depth, 1, 0),
          peak: measurePeak,
          difference: () => relativeDifference(ty.data, y),
        };
        return { works: { [op]: work }, dispose: () => disposeAll(tx, ty, linear) };
      },
    };
  });
}

function activationCases(): CaseGroup {
  const shape = [64, 1024];
  const layers: [Layer, number][] = [
    [new ReLU(), 1],
    [new Sigmoid(), 6],
    [new Tanh(), 7],
  ];
  return {
    names: layers.map(([layer]) => ({ op: layer.subject, layout: '', shape: shape.join('x'), also: 'activation' })),
    make() {
      const random = new Random(3);
      const x = Float32Array.from({ length: shape[0] * shape[1] }, () => 2 * random.normal());
      const y = new Float32Array(x.length);
      const [tx, ty] = [tensor(x, shape), zeros(shape)];
      const works = layers.map(([layer, kind]): [string, CaseWork] => [
        layer.subject,
        {
          bytes: 8 * x.length,
          ours: () => layer.forward(tx, { out: ty }),
          plain: () => inferenceLoops.activate_f32(x, y, kind, 0, x.length),
          copy: copyOf(tx, ty, 8 * x.length),
          difference: () => relativeDifference(ty.data, y),
        },
      ]);
      return { works: Object.fromEntries(works), dispose: () => disposeAll(tx, ty) };
    },
  };
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

/** The name of the digits network on so many rows. */
export function digitsName(op: string, rows: number): CaseName {
  return {
    op,
    layout: '',
    shape: `batch ${rows}, 784-100-100-100-10`,
    also: `digits network 784-100-100-100-10, ${rows === 1 ? 'one row' : `${rows} rows`}, digits network`,
  };
}

function compiledCases(): CaseGroup[] {
  return [1, 64].map((rows) => ({
    names: [digitsName('compiled MLP', rows)],
    make() {
      const net = digitsNetwork();
      const run = net.compile();
      const x = { data: digitsInput(rows), shape: [rows, 784] };
      const [tx, ty] = [tensor(x.data, x.shape), zeros([rows, 10])];
      const plain = plainDigitsNetwork(net, rows, x.data);
      const work: CaseWork = {
        bytes: 4 * (784 * 100 + 2 * 100 * 100 + 100 * 10),
        flops: 2 * rows * (784 * 100 + 2 * 100 * 100 + 100 * 10),
        ours: () => run(tx, { out: ty }),
        plain: plain.work,
        layers: () => net.forward(x),
        peak: measurePeak,
        difference: () => relativeDifference(ty.data, plain.y),
      };
      return { works: { 'compiled MLP': work }, dispose: () => disposeAll(tx, ty, run) };
    },
  }));
}

/** memory.copy between two tensors, as often as it takes to move `bytes`. */
export function copyOf(from: Tensor, to: Tensor, bytes: number): () => void {
  const { kernels } = backend();
  const whole = from.size;
  const times = bytes / (whole * 8);
  return () => {
    for (let left = times; left > 0; left--)
      kernels.activate_f32(from.ptr, to.ptr, 0, 0, Math.floor(whole * Math.min(left, 1)));
  };
}
