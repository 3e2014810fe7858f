// Options that other projects' test suites refuse: null for a value or for all of them, and numbers
// out of range.

import { expect, test } from 'vitest';
import {
  ActivationLayer,
  Adam,
  BatchNorm,
  BatchRenorm,
  BNGRUCell,
  BNLSTMCell,
  batchNorm,
  DomainBatchNorm,
  Dropout,
  GroupNorm,
  InstanceNorm2d,
  LayerNorm,
  Linear,
  RecurrentBatchNorm1d,
  RMSNorm,
  SGD,
} from '../../src/index.ts';
import { errorOf } from '../support/errors.ts';

const any = (value: unknown) => value as never;
const layer = () => new Linear(2, 2, { seed: 1 });
const RATE = 'expected a finite number of 0 or more';

/** What is tried, and the message. */
type Case = [() => unknown, 'RangeError' | 'TypeError', string];

const REFUSED: Record<string, Case> = {
  // keras/src/layers/activations/leaky_relu_test.py, test_invalid_usage; the other activation with
  // a parameter alike
  "Keras, a null slope of 'leaky-relu'": [
    () => new ActivationLayer({ name: 'leaky-relu', slope: any(null) }),
    'RangeError',
    "ActivationLayer: activation 'leaky-relu' expected a finite slope, got null",
  ],
  "Keras, a null slope of 'leaky-relu' in a norm": [
    () => new BatchNorm(4, { activation: { name: 'leaky-relu', slope: any(null) } }),
    'RangeError',
    "BatchNorm(4): activation 'leaky-relu' expected a finite slope, got null",
  ],
  "a null alpha of 'elu'": [
    () => new ActivationLayer({ name: 'elu', alpha: any(null) }),
    'RangeError',
    "ActivationLayer: activation 'elu' expected a finite alpha, got null",
  ],
  // torch/optim/adam.py and sgd.py: None is an error there, as are negative learning rates
  'PyTorch, null betas of Adam': [
    () => new Adam(layer().parameters(), { betas: any(null) }),
    'RangeError',
    'Adam: betas expected two numbers of 0 or more and below 1, got null',
  ],
  'PyTorch, a null eps of Adam': [
    () => new Adam(layer().parameters(), { eps: any(null) }),
    'RangeError',
    `Adam: eps ${RATE}, got null`,
  ],
  'PyTorch, a null momentum of SGD': [
    () => new SGD(layer().parameters(), { momentum: any(null) }),
    'RangeError',
    `SGD: momentum ${RATE}, got null`,
  ],
  'PyTorch, a learning rate of -1': [
    () => new Adam(layer().parameters(), { lr: -1 }),
    'RangeError',
    `Adam: lr ${RATE}, got -1`,
  ],
  'a learning rate of -1, set later': [
    () => {
      new Adam(layer().parameters()).lr = -1;
    },
    'RangeError',
    `Adam: lr ${RATE}, got -1`,
  ],
  'a learning rate of NaN, set later': [
    () => {
      new SGD(layer().parameters()).lr = Number.NaN;
    },
    'RangeError',
    `SGD: lr ${RATE}, got NaN`,
  ],
  'a null eps of a norm': [
    () => new BatchNorm(4, { eps: any(null) }),
    'RangeError',
    `BatchNorm(4): eps ${RATE}, got null`,
  ],
  "a norm's affine null": [
    () => new BatchNorm(4, { affine: any(null) }),
    'RangeError',
    "BatchNorm(4): affine expected true, false, 'gamma' or 'beta', got null",
  ],
};

test.each(Object.entries(REFUSED))('%s: is refused, no default stands for it', (_, [make, name, message]) => {
  expect(errorOf(make)).toEqual([name, 'ERR_OPTION', message]);
});

/** Everything that takes options, by the name in its errors. */
const TAKING: Record<string, (options: never) => unknown> = {
  'BatchNorm(4)': (options) => new BatchNorm(4, options),
  'BatchRenorm(4)': (options) => new BatchRenorm(4, options),
  'DomainBatchNorm(4)': (options) => new DomainBatchNorm(4, options),
  'RecurrentBatchNorm1d(4)': (options) => new RecurrentBatchNorm1d(4, options),
  'GroupNorm(2, 4)': (options) => new GroupNorm(2, 4, options),
  'InstanceNorm2d(4)': (options) => new InstanceNorm2d(4, options),
  'LayerNorm(4)': (options) => new LayerNorm(4, options),
  'RMSNorm(4)': (options) => new RMSNorm(4, options),
  'Linear(2, 2)': (options) => new Linear(2, 2, options),
  'Dropout(0.5)': (options) => new Dropout(0.5, options),
  'BNLSTMCell(2, 2)': (options) => new BNLSTMCell(2, 2, options),
  'BNGRUCell(2, 2)': (options) => new BNGRUCell(2, 2, options),
  Adam: (options) => new Adam(layer().parameters(), options),
  SGD: (options) => new SGD(layer().parameters(), options),
  batchNorm: (options) => batchNorm({ data: new Float32Array(4), shape: [1, 4] }, options),
};

test.each(Object.entries(TAKING))('%s takes an object of options, and neither null nor anything else', (name, make) => {
  for (const [options, shown] of [
    [null, 'null'],
    [5, '5'],
    [true, 'true'],
    ['eps', "'eps'"],
    [[], '[]'],
  ]) {
    const message = `${name}: options expected an object, got ${shown}`;
    expect(errorOf(() => make(any(options)))).toEqual(['TypeError', 'ERR_OPTION', message]);
  }
});

const SEEDED: Record<string, (seed: number) => unknown> = {
  'Linear(2, 2)': (seed) => new Linear(2, 2, { seed }),
  'Dropout(0.5)': (seed) => new Dropout(0.5, { seed }),
  'BNLSTMCell(2, 2)': (seed) => new BNLSTMCell(2, 2, { maxSteps: 3, seed }),
  'BNGRUCell(2, 2)': (seed) => new BNGRUCell(2, 2, { maxSteps: 3, seed }),
};

test.each(Object.entries(SEEDED))('%s with a seed of NaN throws a RangeError', (name, make) => {
  const message = `${name}: seed expected a finite number, got NaN`;
  expect(errorOf(() => make(Number.NaN))).toEqual(['RangeError', 'ERR_OPTION', message]);
});
