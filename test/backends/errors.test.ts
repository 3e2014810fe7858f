// What bad input gets: every message whole, and nothing changed.

import { describe, expect, test } from 'vitest';
import { showChoices } from '../../src/errors.ts';
import {
  Adam,
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  batchNorm,
  configure,
  crossEntropy,
  Dropout,
  Linear,
  normal,
  RecurrentBatchNorm1d,
  ReLU,
  Residual,
  Sequential,
  SGD,
  Tanh,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../src/index.ts';
import { ACTIVATIONS } from '../../src/kernels/activations.ts';
import { backend } from '../../src/kernels/backend.ts';

const batch = (shape: number[], value = 1) => ({
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value),
  shape,
});

type Batch = ReturnType<typeof batch>;

function caught(work: () => unknown): Error & { code: string } {
  try {
    work();
  } catch (error) {
    return error as Error & { code: string };
  }
  throw new Error('nothing was thrown');
}

type Case = [work: () => unknown, kind: string, code: string, message: string];

/** Whatever TypeScript would refuse. */
// biome-ignore lint/suspicious/noExplicitAny: that is the point
const any = (value: unknown): any => value;

const cases: Record<string, Case> = {
  // shapes
  'rank too low': [
    () => new BatchNorm(3).forward(batch([3])),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm(3): x expected rank 2 or more, got rank 1 (shape [3])',
  ],
  'rank of 1d': [
    () => new BatchNorm1d(3).forward(batch([2, 3, 1, 1])),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm1d(3): x expected rank 2 to 3, got rank 4 (shape [2, 3, 1, 1])',
  ],
  'rank of 2d': [
    () => new BatchNorm2d(3).forward(batch([2, 3, 4])),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm2d(3): x expected rank 4, got rank 3 (shape [2, 3, 4])',
  ],
  'rank of 3d': [
    () => new BatchNorm3d(3).forward(batch([2, 3, 4, 5])),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm3d(3): x expected rank 5, got rank 4 (shape [2, 3, 4, 5])',
  ],
  channels: [
    () => new BatchNorm(64).forward(batch([8, 32, 28, 28])),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm(64): x expected 64 channels on axis 1, got 32 (shape [8, 32, 28, 28], channels-first)',
  ],
  'channels last': [
    () => new BatchNorm(64, { layout: 'channels-last' }).forward(batch([2, 64, 3])),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm(64): x expected 64 channels on axis 2, got 3 (shape [2, 64, 3], channels-last)',
  ],
  'data length': [
    () => new BatchNorm1d(2).forward({ data: new Float32Array(5), shape: [3, 2] }),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm1d(2): x.data expected 6 values, got 5 (shape [3, 2])',
  ],
  'negative size': [
    () => new BatchNorm1d(2).forward({ data: new Float32Array(2), shape: [-1, 2] }),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm1d(2): x.shape expected integers of 0 or more, got [-1, 2]',
  ],
  'fractional size': [
    () => zeros([1.5]),
    'RangeError',
    'ERR_SHAPE',
    'Tensor: x.shape expected integers of 0 or more, got [1.5]',
  ],
  'single value': [
    () => new BatchNorm(64).forward(batch([1, 64])),
    'RangeError',
    'ERR_SINGLE_VALUE',
    'BatchNorm(64): training expected at least 2 values per channel, got 1 (shape [1, 64]; eval() takes single values; training does with onSingleValue)',
  ],
  'single value untracked': [
    () => new BatchNorm(64, { trackRunningStats: false }).eval().forward(batch([1, 64])),
    'RangeError',
    'ERR_SINGLE_VALUE',
    'BatchNorm(64): evaluation without running statistics expected at least 2 values per channel, got 1 (shape [1, 64]; see onSingleValue)',
  ],
  'residual shape': [
    () => new BatchNorm1d(2).forward(batch([3, 2]), { residual: batch([2, 3]) }),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm1d(2): residual expected shape [3, 2], got [2, 3]',
  ],
  'out shape': [
    () => new BatchNorm1d(2).forward(batch([3, 2]), { out: batch([2, 2]) }),
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm1d(2): out expected shape [3, 2], got [2, 2]',
  ],
  'dy shape': [
    () => {
      const bn = new BatchNorm1d(2);
      bn.forward(batch([3, 2]));
      bn.backward(batch([2, 3]));
    },
    'RangeError',
    'ERR_SHAPE',
    'BatchNorm1d(2): dy expected shape [3, 2], got [2, 3]',
  ],
  'tensor length': [
    () => tensor(new Float32Array(3), [2, 2]),
    'RangeError',
    'ERR_SHAPE',
    'tensor: data expected 4 values, got 3 (shape [2, 2])',
  ],

  // kinds
  'not a tensor': [
    () => new BatchNorm1d(2).forward(any([1, 2])),
    'TypeError',
    'ERR_TYPE',
    'BatchNorm1d(2): x expected a Tensor or { data, shape }, got [1, 2]',
  ],
  'no x': [
    () => new BatchNorm1d(2).forward(any(undefined)),
    'TypeError',
    'ERR_TYPE',
    'BatchNorm1d(2): x expected a Tensor or { data, shape }, got undefined',
  ],
  'f64 data': [
    () => new BatchNorm1d(2).forward(any({ data: new Float64Array(4), shape: [2, 2] })),
    'TypeError',
    'ERR_TYPE',
    'BatchNorm1d(2): x.data expected a Float32Array, got Float64Array',
  ],
  'shape of the wrong kind': [
    () => new BatchNorm1d(2).forward(any({ data: new Float32Array(4), shape: 4 })),
    'TypeError',
    'ERR_TYPE',
    'BatchNorm1d(2): x.shape expected an array of sizes, got 4',
  ],
  'tensor of the wrong kind': [
    () => tensor(any('abc'), [3]),
    'TypeError',
    'ERR_TYPE',
    "tensor: data expected a Float32Array or an array of numbers, got 'abc'",
  ],
  'asynchronous tidy': [
    () => tidy(async () => zeros([1])),
    'TypeError',
    'ERR_TYPE',
    'tidy: work expected a synchronous function, got one that returns a Promise',
  ],

  // options
  features: [
    () => new BatchNorm2d(0),
    'RangeError',
    'ERR_OPTION',
    'BatchNorm2d: numFeatures expected an integer from 1 to 16777216, got 0',
  ],
  'fractional features': [
    () => new BatchNorm2d(1.5),
    'RangeError',
    'ERR_OPTION',
    'BatchNorm2d: numFeatures expected an integer from 1 to 16777216, got 1.5',
  ],
  'NaN eps': [
    () => new BatchNorm(4, { eps: Number.NaN }),
    'RangeError',
    'ERR_OPTION',
    'BatchNorm(4): eps expected a finite number of 0 or more, got NaN',
  ],
  'negative eps': [
    () => new BatchNorm(4, { eps: -1e-5 }),
    'RangeError',
    'ERR_OPTION',
    'BatchNorm(4): eps expected a finite number of 0 or more, got -0.00001',
  ],
  'momentum above 1': [
    () => new BatchNorm(4, { momentum: 1.1 }),
    'RangeError',
    'ERR_OPTION',
    'BatchNorm(4): momentum expected a number from 0 to 1, or null, got 1.1',
  ],
  'momentum NaN': [
    () => new BatchNorm(4, { momentum: Number.NaN }),
    'RangeError',
    'ERR_OPTION',
    'BatchNorm(4): momentum expected a number from 0 to 1, or null, got NaN',
  ],
  'momentum as text': [
    () => new BatchNorm(4, { momentum: any('0.1') }),
    'RangeError',
    'ERR_OPTION',
    "BatchNorm(4): momentum expected a number from 0 to 1, or null, got '0.1'",
  ],
  'unknown option': [
    () => new BatchNorm(4, any({ epsilon: 1e-3 })),
    'TypeError',
    'ERR_OPTION',
    "BatchNorm(4): options expected 'eps', 'momentum', 'affine', 'trackRunningStats', 'layout', 'axis', 'runningVariance', 'onSingleValue', 'onNonFinite', 'virtualBatchSize' or 'activation', got 'epsilon'",
  ],
  'options of the wrong kind': [
    () => new BatchNorm(4, any(1e-5)),
    'TypeError',
    'ERR_OPTION',
    'BatchNorm(4): options expected an object, got 0.00001',
  ],
  'misspelt layout': [
    () => new BatchNorm(4, { layout: any('channel-last') }),
    'RangeError',
    'ERR_OPTION',
    "BatchNorm(4): layout expected 'channels-first' or 'channels-last', got 'channel-last'",
  ],
  'misspelt affine': [
    () => new BatchNorm(4, { affine: any('scale') }),
    'RangeError',
    'ERR_OPTION',
    "BatchNorm(4): affine expected true, false, 'gamma' or 'beta', got 'scale'",
  ],
  'misspelt estimator': [
    () => new BatchNorm(4, { runningVariance: any('population') }),
    'RangeError',
    'ERR_OPTION',
    "BatchNorm(4): runningVariance expected 'unbiased' or 'biased', got 'population'",
  ],
  'trackRunningStats of the wrong kind': [
    () => new BatchNorm(4, { trackRunningStats: any(1) }),
    'TypeError',
    'ERR_OPTION',
    'BatchNorm(4): trackRunningStats expected true or false, got 1',
  ],
  'policy for single values': [
    () => new BatchNorm(4, { onSingleValue: any('ignore') }),
    'RangeError',
    'ERR_OPTION',
    "BatchNorm(4): onSingleValue expected 'throw', 'use-running' or 'skip-update', got 'ignore'",
  ],
  'policy for non-finite batches': [
    () => new BatchNorm(4, { onNonFinite: any('ignore') }),
    'RangeError',
    'ERR_OPTION',
    "BatchNorm(4): onNonFinite expected 'propagate', 'skip-update' or 'throw', got 'ignore'",
  ],
  'use-running without running': [
    () => new BatchNorm(4, { onSingleValue: 'use-running', trackRunningStats: false }),
    'RangeError',
    'ERR_OPTION',
    "BatchNorm(4): onSingleValue 'use-running' expected trackRunningStats: true, got false",
  ],
  'unknown activation': [
    () => new BatchNorm(4, { activation: any('swish') }),
    'RangeError',
    'ERR_OPTION',
    `BatchNorm(4): activation expected ${showChoices(ACTIVATIONS)}, got 'swish'`,
  ],
  'parameter of an activation': [
    () => new BatchNorm(4, { activation: any({ name: 'relu', slope: 0.1 }) }),
    'TypeError',
    'ERR_OPTION',
    "BatchNorm(4): activation 'relu' expected the options 'name', got 'slope'",
  ],
  'NaN slope': [
    () => new BatchNorm(4, { activation: { name: 'leaky-relu', slope: Number.NaN } }),
    'RangeError',
    'ERR_OPTION',
    "BatchNorm(4): activation 'leaky-relu' expected a finite slope, got NaN",
  ],
  preset: [
    () => BatchNorm.preset(any('caffe')),
    'RangeError',
    'ERR_OPTION',
    "BatchNorm.preset: name expected 'torch', 'keras', 'flax', 'onnx' or 'tfjs', got 'caffe'",
  ],
  'linear size': [
    () => new Linear(3, -1),
    'RangeError',
    'ERR_OPTION',
    'Linear: outFeatures expected an integer from 1 to 16777216, got -1',
  ],
  'linear option': [
    () => new Linear(3, 2, any({ biases: true })),
    'TypeError',
    'ERR_OPTION',
    "Linear(3, 2): options expected 'bias', 'init' or 'seed', got 'biases'",
  ],
  'linear init': [
    () => new Linear(3, 2, { init: any('he') }),
    'TypeError',
    'ERR_OPTION',
    "Linear(3, 2): init expected an initializer, got 'he'",
  ],
  'dropout probability': [
    () => new Dropout(1.2),
    'RangeError',
    'ERR_OPTION',
    'Dropout: p expected a number from 0 to 1, got 1.2',
  ],
  'initial deviation': [
    () => normal(-1),
    'RangeError',
    'ERR_OPTION',
    'normal: std expected a finite number of 0 or more, got -1',
  ],
  'learning rate': [
    () => new SGD([], { lr: Number.NaN }),
    'RangeError',
    'ERR_OPTION',
    'SGD: lr expected a finite number of 0 or more, got NaN',
  ],
  'nesterov without momentum': [
    () => new SGD([], { nesterov: true }),
    'RangeError',
    'ERR_OPTION',
    'SGD: nesterov expected momentum above 0, got 0',
  ],
  'Adam betas': [
    () => new Adam([], { betas: [0.9, 1] }),
    'RangeError',
    'ERR_OPTION',
    'Adam: betas expected two numbers of 0 or more and below 1, got [0.9, 1]',
  ],
  'no parameters': [
    () => new SGD([], { lr: 0.1 }),
    'RangeError',
    'ERR_OPTION',
    'SGD: parameters expected one or more, got none',
  ],
  parameters: [
    () => new Adam(any([{}])),
    'TypeError',
    'ERR_TYPE',
    'Adam: parameters expected an array of { data, grad } of equal lengths, got [Object]',
  ],
  setting: [
    () => configure(any({ threads: 2 })),
    'TypeError',
    'ERR_OPTION',
    "configure: options expected 'backend' or 'deterministic', got 'threads'",
  ],
  backend: [
    () => configure({ backend: any('gpu') }),
    'RangeError',
    'ERR_OPTION',
    "configure: backend expected 'auto', 'relaxed', 'simd' or 'js', got 'gpu'",
  ],

  // options of calls
  'misspelt call option': [
    () => new BatchNorm1d(2).forward(batch([3, 2]), any({ residuals: batch([3, 2]) })),
    'TypeError',
    'ERR_OPTION',
    "BatchNorm1d(2): options expected 'out', 'residual', 'mask', 'lengths' or 'weights', got 'residuals'",
  ],
  'out without its name': [
    () => new BatchNorm1d(2).forward(batch([3, 2]), any(zeros([3, 2]))),
    'TypeError',
    'ERR_OPTION',
    'BatchNorm1d(2): options expected { out, residual, mask, lengths, weights }, got Tensor',
  ],
  'no options': [
    () => new Tanh().forward(batch([3, 2]), any(null)),
    'TypeError',
    'ERR_OPTION',
    'Tanh: options expected { out }, got null',
  ],
  'out that is no tensor': [
    () => new BatchNorm1d(2).forward(batch([3, 2]), { out: any(5) }),
    'TypeError',
    'ERR_TYPE',
    'BatchNorm1d(2): out expected a Tensor or { data, shape }, got 5',
  ],
  'residual that is no tensor': [
    () => new BatchNorm1d(2).forward(batch([3, 2]), { residual: any(0) }),
    'TypeError',
    'ERR_TYPE',
    'BatchNorm1d(2): residual expected a Tensor or { data, shape }, got 0',
  ],
  'compiled call option': [
    () => new Sequential(new Tanh()).compile()(batch([1, 1]), any({ output: 1 })),
    'TypeError',
    'ERR_OPTION',
    "compiled network: options expected 'out', got 'output'",
  ],
  'settings of the wrong kind': [
    () => configure(any(null)),
    'TypeError',
    'ERR_OPTION',
    'configure: options expected an object, got null',
  ],
  'tidy without work': [() => tidy(any(5)), 'TypeError', 'ERR_TYPE', 'tidy: work expected a function, got 5'],
  'tensor of words': [
    () => tensor(any([1, 'a']), [2]),
    'TypeError',
    'ERR_TYPE',
    "tensor: data[1] expected a number, got 'a'",
  ],
  'a layer twice': [
    () => {
      const tanh = new Tanh();
      new Sequential(tanh, new Sequential(new Linear(2, 2), tanh));
    },
    'RangeError',
    'ERR_OPTION',
    'Sequential: each layer expected a place of its own, since it keeps what its backward needs, got Tanh twice',
  ],
  'negative variance given': [
    () => batchNorm(batch([2, 2]), { mean: [0, 0], variance: [1, -1] }),
    'RangeError',
    'ERR_OPTION',
    'batchNorm: variance expected values of 0 or more, got [1, -1]',
  ],

  // aliasing
  'overlapping out': [
    () => {
      const memory = new Float32Array(10);
      new BatchNorm1d(2).forward(
        { data: memory.subarray(0, 8), shape: [4, 2] },
        { out: { data: memory.subarray(2), shape: [4, 2] } },
      );
    },
    'RangeError',
    'ERR_ALIAS',
    'BatchNorm1d(2): out expected the memory of x itself, or memory apart from it, got a partial overlap (shape [4, 2], 8 bytes apart)',
  ],
  'linear in place': [
    () => {
      const x = zeros([2, 2]);
      new Linear(2, 2).forward(x, { out: x });
    },
    'RangeError',
    'ERR_ALIAS',
    'Linear(2, 2): out expected memory apart from x, got x itself (shape [2, 2])',
  ],

  'network in place': [
    () => {
      const x = zeros([2, 2]);
      new Sequential(new Linear(2, 2), new Tanh()).forward(x, { out: x });
    },
    'RangeError',
    'ERR_ALIAS',
    'Sequential: out expected memory apart from x, got x itself (shape [2, 2])',
  ],

  // the wrong moment
  'a compiled network after dispose': [
    () => {
      const run = new Sequential(new Linear(2, 2)).compile();
      run.dispose();
      run(batch([1, 2]));
    },
    'Error',
    'ERR_DISPOSED',
    'compiled network: a run expected a live network, got one that was disposed',
  ],
  'linear backward after its x was written over': [
    () => {
      const x = batch([2, 2]);
      const linear = new Linear(2, 2);
      linear.forward(x, { out: x });
      linear.backward(batch([2, 2]));
    },
    'Error',
    'ERR_MODE',
    'Linear(2, 2): backward expected the x of the last forward, got one that forward wrote over (out: x)',
  ],
  'activation backward after dx took the place of x': [
    () => {
      const x = zeros([2, 2]);
      const tanh = new Tanh();
      tanh.forward(x);
      tanh.backward(batch([2, 2]), { out: x });
      tanh.backward(batch([2, 2]));
    },
    'Error',
    'ERR_MODE',
    'Tanh: backward expected the x of the last forward, got one that backward wrote over (out: x)',
  ],
  'backward after dx took the place of the residual': [
    () => {
      const residual = zeros([3, 2]);
      const bn = new BatchNorm1d(2, { activation: 'tanh' });
      bn.forward(batch([3, 2]), { residual });
      bn.backward(batch([3, 2]), { out: residual });
      bn.backward(batch([3, 2]));
    },
    'Error',
    'ERR_MODE',
    'BatchNorm1d(2): backward expected the residual of the last forward, got one that backward wrote over (out: residual)',
  ],
  'backward before forward': [
    () => new BatchNorm(64).backward(batch([2, 64])),
    'Error',
    'ERR_MODE',
    'BatchNorm(64): backward expected a forward before it, got none',
  ],
  'linear backward before forward': [
    () => new Linear(2, 3).backward(batch([2, 3])),
    'Error',
    'ERR_MODE',
    'Linear(2, 3): backward expected a forward before it, got none',
  ],
  'activation backward before forward': [
    () => new Tanh().backward(batch([2, 3])),
    'Error',
    'ERR_MODE',
    'Tanh: backward expected a forward before it, got none',
  ],
  'dropout backward before forward': [
    () => new Dropout(0.5).backward(batch([2, 3])),
    'Error',
    'ERR_MODE',
    'Dropout(0.5): backward expected a forward before it, got none',
  ],
  'network backward before forward': [
    () => new Sequential(new Tanh()).backward(batch([2, 3])),
    'Error',
    'ERR_MODE',
    'Sequential: backward expected a forward before it, got none',
  ],
  'freeze without statistics': [
    () => new BatchNorm(4, { trackRunningStats: false }).freeze(),
    'Error',
    'ERR_MODE',
    'BatchNorm(4): freeze expected running statistics, got a layer with trackRunningStats: false',
  ],
  'compile without statistics': [
    () => new Sequential(new RecurrentBatchNorm1d(4, { maxSteps: 2 })).compile(),
    'Error',
    'ERR_MODE',
    'RecurrentBatchNorm1d(4): compile expected one set of running statistics, got a layer with statistics for each time step',
  ],
  'disposed x': [
    () => {
      const x = zeros([3, 2]);
      x.dispose();
      new BatchNorm1d(2).forward(x);
    },
    'Error',
    'ERR_DISPOSED',
    'BatchNorm1d(2): x expected a live tensor, got one that was disposed (shape [3, 2])',
  ],
  'data of a disposed tensor': [
    () => {
      const x = zeros([3, 2]);
      x.dispose();
      return x.data;
    },
    'Error',
    'ERR_DISPOSED',
    'Tensor: data expected a live tensor, got one that was disposed (shape [3, 2])',
  ],
  'x disposed before backward': [
    () => {
      const bn = new BatchNorm1d(2);
      const x = zeros([3, 2]);
      bn.forward(x);
      x.dispose();
      bn.backward(batch([3, 2]));
    },
    'Error',
    'ERR_DISPOSED',
    'BatchNorm1d(2): backward: the x of the last forward expected a live tensor, got one that was disposed (shape [3, 2])',
  ],

  // states
  'no state': [
    () => new BatchNorm(2).loadStateDict(any(null)),
    'TypeError',
    'ERR_STATE',
    'BatchNorm(2): state expected a record of names to { data, shape }, got null',
  ],
  'missing entry': [
    () => without('beta'),
    'RangeError',
    'ERR_STATE',
    "BatchNorm(2): state expected an entry 'beta', got none",
  ],
  'unknown entry': [
    () => withEntry('moving_mean', batch([2])),
    'RangeError',
    'ERR_STATE',
    "BatchNorm(2): state expected only gamma, beta, runningMean, runningVar, batchesTracked, got 'moving_mean'",
  ],
  'misshapen entry': [
    () => withEntry('gamma', batch([3])),
    'RangeError',
    'ERR_STATE',
    "BatchNorm(2): state 'gamma' expected shape [2], got [3]",
  ],
  'entry of the wrong length': [
    () => withEntry('gamma', { data: new Float32Array(3), shape: [2] }),
    'RangeError',
    'ERR_STATE',
    "BatchNorm(2): state 'gamma' expected 2 values, got 3",
  ],
  'entry that is no numbers': [
    () => withEntry('gamma', { data: ['1', '2'], shape: [2] }),
    'TypeError',
    'ERR_STATE',
    "BatchNorm(2): state 'gamma' expected numbers, got ['1', '2']",
  ],
  'entry that is no record': [
    () => withEntry('gamma', [1, 1]),
    'TypeError',
    'ERR_STATE',
    "BatchNorm(2): state 'gamma' expected { data, shape }, got [1, 1]",
  ],
  'negative variance': [
    () => withEntry('runningVar', { data: [1, -1], shape: [2] }),
    'RangeError',
    'ERR_STATE',
    "BatchNorm(2): state 'runningVar' expected variances of 0 or more, got [1, -1]",
  ],
  'fractional count': [
    () => withEntry('batchesTracked', { data: [1.5], shape: [] }),
    'RangeError',
    'ERR_STATE',
    "BatchNorm(2): state 'batchesTracked' expected an integer of 0 or more, got [1.5]",
  ],
  'state of a network': [
    () => new Sequential(new Linear(2, 1)).loadStateDict({}),
    'RangeError',
    'ERR_STATE',
    "Sequential: state expected an entry '0.weight', got none",
  ],

  // networks
  'linear features': [
    () => new Linear(4, 2).forward(batch([3, 5])),
    'RangeError',
    'ERR_SHAPE',
    'Linear(4, 2): x expected 4 features on axis 1, got 5 (shape [3, 5])',
  ],
  'linear rank': [
    () => new Linear(4, 2).forward(batch([4])),
    'RangeError',
    'ERR_SHAPE',
    'Linear(4, 2): x expected rank 2 or more, got rank 1 (shape [4])',
  ],
  'a network of something else': [
    () => new Sequential(any({})),
    'TypeError',
    'ERR_TYPE',
    'Sequential: a layer expected a Layer, got Object',
  ],
  'compiled features': [
    () => new Sequential(new Linear(4, 2)).compile()(batch([3, 5])),
    'RangeError',
    'ERR_SHAPE',
    'compiled network: linear 4 → 2: x expected 4 features on axis 1, got 5 (shape [3, 5])',
  ],
  'label out of range': [
    () => crossEntropy(batch([2, 3]), [0, 3]),
    'RangeError',
    'ERR_LABEL',
    'crossEntropy: labels[1] expected an integer from 0 to 2, got 3',
  ],
  'fractional label': [
    () => crossEntropy(batch([1, 3]), [0.5]),
    'RangeError',
    'ERR_LABEL',
    'crossEntropy: labels[0] expected an integer from 0 to 2, got 0.5',
  ],
  'number of labels': [
    () => crossEntropy(batch([2, 3]), [0]),
    'RangeError',
    'ERR_SHAPE',
    'crossEntropy: labels expected 2 class indices, one per row, got 1',
  ],
  'logits of rank 1': [
    () => crossEntropy(batch([3]), [0]),
    'RangeError',
    'ERR_SHAPE',
    'crossEntropy: logits expected [N, classes, ...] with N of 1 or more, got [3]',
  ],
  labels: [
    () => crossEntropy(batch([1, 3]), any('0')),
    'TypeError',
    'ERR_TYPE',
    "crossEntropy: labels expected an array of class indices, got '0'",
  ],

  // batchNorm
  'function without mean': [
    () => batchNorm(batch([2, 2]), any({ variance: [1, 1] })),
    'TypeError',
    'ERR_TYPE',
    'batchNorm: mean expected a Float32Array or an array of numbers, got undefined',
  ],
  'function, lengths': [
    () => batchNorm(batch([2, 2]), { mean: [0, 0], variance: [1] }),
    'RangeError',
    'ERR_SHAPE',
    'batchNorm: variance expected 2 values, as many as mean, got 1',
  ],
  'function, channels': [
    () => batchNorm(batch([2, 2]), { mean: [0, 0, 0], variance: [1, 1, 1] }),
    'RangeError',
    'ERR_SHAPE',
    'batchNorm: x expected 3 channels on axis 1, got 2 (shape [2, 2], channels-first)',
  ],
  'function, eps': [
    () => batchNorm(batch([2, 2]), { mean: [0, 0], variance: [1, 1], eps: -1 }),
    'RangeError',
    'ERR_OPTION',
    'batchNorm: eps expected a finite number of 0 or more, got -1',
  ],

  // memory
  'too many values': [
    () => zeros([2 ** 20, 2 ** 20]),
    'RangeError',
    'ERR_MEMORY',
    'Tensor: x.shape expected at most 1073741824 values (4 GiB), got 1099511627776 (shape [1048576, 1048576]; use smaller batches)',
  ],
};

function without(name: string): void {
  const bn = new BatchNorm(2);
  const { [name]: _, ...state } = bn.stateDict();
  bn.loadStateDict(state);
}

function withEntry(name: string, entry: unknown): void {
  const bn = new BatchNorm(2);
  const before = bn.stateDict();
  try {
    bn.loadStateDict({ ...before, gamma: { data: Float32Array.of(5, 5), shape: [2] }, [name]: any(entry) });
  } finally {
    expect(bn.stateDict()).toEqual(before);
  }
}

test.each(Object.entries(cases))('%s', (_, [work, kind, code, message]) => {
  const error = caught(work);
  expect([error.name, error.code, error.message]).toEqual([kind, code, message]);
});

describe('after an error nothing has changed', () => {
  test('a network whose backward cannot reach its end adds to no gradient', () => {
    const net = new Sequential(new Linear(2, 3, { seed: 1 }), new BatchNorm1d(3), new Linear(3, 2, { seed: 2 }));
    const x = tensor([1, 2, 3, 5], [2, 2]);
    net.forward(x);
    x.dispose();
    expect(caught(() => net.backward(batch([2, 2]))).code).toBe('ERR_DISPOSED');
    net.forward(batch([2, 2]));
    net.layers[0].dispose();
    expect(caught(() => net.backward(batch([2, 2]))).code).toBe('ERR_MODE');
    expect(net.parameters().every(({ grad }) => grad.every((g) => g === 0))).toBe(true);
  });

  test.each([
    ['arrays', false],
    ['tensors', true],
  ])('a network whose forward failed halfway still has the backward of the one before, on %s', (_, inMemory) => {
    const make = () =>
      new Sequential(
        new Linear(2, 3, { seed: 1 }),
        new Dropout(0.5, { seed: 2 }),
        new BatchNorm1d(3, { onNonFinite: 'throw' }),
        new Residual(new Linear(3, 3, { seed: 3 }), new BatchNorm1d(3)),
      );
    const [net, twin] = [make(), make()];
    const given = (x: Batch) => (inMemory ? tensor(x.data, x.shape) : x);
    const good = { data: Float32Array.of(1, 2, 3, 5, 8, 13), shape: [3, 2] };
    for (const one of [net, twin]) one.forward(given(good));
    for (const bad of [batch([3, 2], Number.NaN), batch([9, 2], Number.NaN)]) {
      expect(caught(() => net.forward(given(bad))).message).toMatch(
        /^Sequential, layer 2: BatchNorm1d\(3\): x expected finite statistics, got a mean of NaN and a variance of NaN \(channel \d, shape \[\d, 3\]\)$/,
      );
    }
    expect((net.layers[2] as BatchNorm1d).nonFiniteBatches).toBe(2);
    const dy = { data: Float32Array.from({ length: 9 }, (__, i) => Math.sin(i)), shape: [3, 3] };
    expect(Float32Array.from(net.backward(given(dy)).data)).toEqual(Float32Array.from(twin.backward(given(dy)).data));
    expect(net.parameters().map(({ grad }) => grad)).toEqual(twin.parameters().map(({ grad }) => grad));
    expect(net.stateDict()).toEqual(twin.stateDict());
    const [next, expected] = [net, twin].map((one) => Float32Array.from(one.forward(given(good)).data));
    expect(next).toEqual(expected);
  });

  test('a network that cannot have the memory it asks for keeps what it has', () => {
    const net = new Sequential(new Linear(1, 4, { seed: 1 }), new Tanh());
    const small = batch([2, 1]);
    const expected = net.forward(small).data;
    const { heap } = backend();
    const { alloc } = heap;
    let calls = 0;
    heap.alloc = (bytes) => {
      if (++calls > 2) throw new RangeError('no more');
      return alloc.call(heap, bytes);
    };
    try {
      expect(() => net.forward(batch([500, 1]))).toThrow('no more');
    } finally {
      heap.alloc = alloc;
    }
    const bystander = zeros([16]);
    expect(net.forward(small).data).toEqual(expected);
    expect([...bystander.data]).toEqual(new Array(16).fill(0));
  });

  test('dropout refused has drawn no mask', () => {
    const [a, b] = [new Dropout(0.5, { seed: 1 }), new Dropout(0.5, { seed: 1 })];
    caught(() => a.forward(batch([40]), { out: batch([41]) }));
    expect(a.forward(batch([40]))).toEqual(b.forward(batch([40])));
  });

  test('a refused backward leaves the gradient of the residual, and no memory behind', () => {
    const bn = new BatchNorm1d(2);
    const x = tensor([1, 2, 3, 4], [2, 2]);
    bn.forward(x, { residual: x });
    bn.backward(x);
    const before = bn.residualGrad;
    const { blocks } = backend().heap;
    for (let i = 0; i < 10; i++) caught(() => bn.backward(x, { out: batch([9, 9]) }));
    expect(bn.residualGrad).toBe(before);
    expect((before as Tensor).disposed).toBe(false);
    expect(backend().heap.blocks).toBe(blocks);
  });

  test('a batch norm layer: statistics, counter, gradients, out, and what backward needs', () => {
    const bn = new BatchNorm1d(2);
    const x = { data: Float32Array.of(1, 2, 3, 5, 8, 13), shape: [3, 2] };
    bn.forward(x);
    const dy = { data: Float32Array.of(1, -1, 2, 0.5, 0, 3), shape: [3, 2] };
    const dx = bn.backward(dy).data;
    const [gamma, beta] = [bn.gamma!.grad.slice(), bn.beta!.grad.slice()];
    const before = bn.stateDict();
    const out = batch([3, 2], 7);
    const bad = [
      () => bn.forward(batch([1, 2])),
      () => bn.forward(batch([3, 3]), { out }),
      () => bn.forward({ data: new Float32Array(5), shape: [3, 2] }, { out }),
      () => bn.forward(x, { out, residual: batch([1, 2]) }),
      () => bn.forward(x, { out: batch([2, 2]) }),
      () => bn.backward(batch([2, 2]), { out }),
      () => bn.backward(dy, { out: batch([2, 2]) }),
    ];
    for (const work of bad) {
      caught(work);
      expect(bn.stateDict()).toEqual(before);
      expect([...out.data]).toEqual([7, 7, 7, 7, 7, 7]);
      expect([...bn.gamma!.grad, ...bn.beta!.grad]).toEqual([...gamma, ...beta]);
      bn.zeroGrad();
      expect(bn.backward(dy).data).toEqual(dx);
      bn.gamma!.grad.set(gamma);
      bn.beta!.grad.set(beta);
    }
  });

  test('a network: a layer that throws gives the layers before it their statistics back', () => {
    const poison = new BatchNorm1d(2, { onNonFinite: 'throw' });
    const net = new Sequential(new BatchNorm1d(2), new ReLU(), poison);
    const before = net.stateDict();
    expect(caught(() => net.forward({ data: Float32Array.of(1, 2, Number.NaN, 4), shape: [2, 2] })).code).toBe(
      'ERR_NON_FINITE',
    );
    expect(net.stateDict()).toEqual(before);
  });

  test('a tensor that was made for a result that failed is given back', () => {
    const bn = new BatchNorm1d(2, { onNonFinite: 'throw' });
    const x = tensor([1, 2, Number.NaN, 4], [2, 2]);
    const { blocks } = backend().heap;
    for (let i = 0; i < 10; i++) expect(caught(() => bn.forward(x)).code).toBe('ERR_NON_FINITE');
    expect(backend().heap.blocks).toBe(blocks);
    x.dispose();
  });
});
