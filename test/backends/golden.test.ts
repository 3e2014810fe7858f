// The reference data of PyTorch, through the public layers.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  crossEntropy,
  Linear,
  Sequential,
  SGD,
  Tanh,
  tensor,
} from '../../src/index.ts';
import { errorRatio, type GoldenCase, type GoldenTensor, goldenCases, type Mode, plain } from '../support/golden.ts';

const MODULES = { BatchNorm1d, BatchNorm2d, BatchNorm3d };
const ACTIVATIONS: Record<string, string> = {
  leaky_relu: 'leaky-relu',
  gelu_tanh: 'gelu-tanh',
  hardswish: 'hard-swish',
  hardsigmoid: 'hard-sigmoid',
};

function layerOf({ attributes: a, tensors: T }: GoldenCase) {
  const activation = a.activation && {
    name: ACTIVATIONS[a.activation] ?? a.activation,
    ...(a.activationArgs.negativeSlope && { slope: a.activationArgs.negativeSlope }),
  };
  const bn = new MODULES[a.module as keyof typeof MODULES](a.numFeatures, {
    eps: a.eps,
    momentum: a.momentum,
    affine: a.affine ?? true,
    trackRunningStats: a.trackRunningStats ?? true,
    layout: a.layout === 'channels_last' ? 'channels-last' : 'channels-first',
    activation,
  });
  if (T.weight) {
    bn.gamma!.data.set(T.weight.data);
    bn.beta!.data.set(T.bias.data);
  }
  return bn;
}

/** Collects what is out of tolerance. */
function checker({ tensors }: GoldenCase) {
  const failures: string[] = [];
  const check = (name: string, actual: ArrayLike<number> | null, mode: Mode) => {
    const ratio = errorRatio(tensors[name], actual!, mode);
    if (!(ratio <= 1)) failures.push(`${name} is ${ratio} times the ${mode} tolerance`);
  };
  return { failures, check };
}

describe.each(goldenCases('batch_norm'))('$id', (golden) => {
  const { attributes: a, tensors: T } = golden;

  test.each(['plain arrays', 'tensors'])('on %s', (kind) => {
    const place = (t: GoldenTensor) => (kind === 'tensors' ? tensor(plain(t).data, t.shape) : plain(t));
    const bn = layerOf(golden);
    if (a.trackRunningStats) {
      bn.runningMean!.set(T.running_mean_init.data);
      bn.runningVar!.set(T.running_var_init.data);
    }
    const { failures, check } = checker(golden);
    const training = (name: string, actual: ArrayLike<number> | null) => {
      check(name, actual, 'tol');
      check(name, actual, 'strict');
    };
    const evaluation = (name: string, actual: ArrayLike<number>) => {
      check(name, actual, 'tol');
      check(name, actual, 'affine');
    };

    for (let b = 0; b < a.batches; b++) {
      const y = bn.forward(place(T[`x${b}`]));
      training(`mean${b}`, bn.savedMean);
      training(`invstd${b}`, bn.savedInvStd);
      if (a.trackRunningStats) {
        training(`running_mean${b}`, bn.runningMean);
        training(`running_var${b}`, bn.runningVar);
      }
      if (b === a.batches - 1) training('y', y.data);
    }
    training('dx', bn.backward(place(T.dy)).data);
    if (a.affine) {
      training('dweight', bn.gamma!.grad);
      training('dbias', bn.beta!.grad);
    }

    bn.eval();
    bn.zeroGrad();
    if (a.trackRunningStats) {
      expect(bn.batchesTracked).toBe(a.numBatchesTracked);
      bn.runningMean!.set(T.eval_running_mean.data);
      bn.runningVar!.set(T.eval_running_var.data);
    }
    evaluation('y_eval', bn.forward(place(T.x0)).data);
    evaluation('dx_eval', bn.backward(place(T.dy)).data);
    if (a.affine) {
      evaluation('dweight_eval', bn.gamma!.grad);
      evaluation('dbias_eval', bn.beta!.grad);
    }
    bn.dispose();
    expect(failures).toEqual([]);
  });
});

test.each(goldenCases('batch_norm_act', 'batch_norm_add_act'))('$id', (golden) => {
  const { tensors: T } = golden;
  const bn = layerOf(golden);
  const { failures, check } = checker(golden);
  const residual = T.residual && plain(T.residual);
  const pass = (suffix: string) => {
    check(`y${suffix}`, bn.forward(plain(T.x), { residual }).data, 'tol');
    check(`dx${suffix}`, bn.backward(plain(T.dy)).data, 'tol');
    check(`dweight${suffix}`, bn.gamma!.grad, 'tol');
    check(`dbias${suffix}`, bn.beta!.grad, 'tol');
    if (residual) check(`dresidual${suffix}`, bn.residualGrad!.data, 'tol');
  };
  pass('');
  check('running_mean', bn.runningMean, 'tol');
  check('running_var', bn.runningVar, 'tol');
  bn.eval().zeroGrad();
  bn.runningMean!.set(T.eval_running_mean.data);
  bn.runningVar!.set(T.eval_running_var.data);
  pass('_eval');
  expect(failures).toEqual([]);
});

const refusals = goldenCases('error').filter(({ attributes }) => attributes.module in MODULES);

test.each(refusals)('$id', ({ attributes: a, expect: wanted }) => {
  const bn = new MODULES[a.module as keyof typeof MODULES](a.constructor.args[0], {
    trackRunningStats: a.constructor.track_running_stats ?? true,
  });
  bn.train(a.mode === 'train');
  const data = new Float32Array(a.inputShape.reduce((size: number, length: number) => size * length, 1));
  const before = bn.stateDict();
  const call = () => bn.forward({ data, shape: a.inputShape });
  if (wanted.result === 'ok') {
    expect(call().shape).toEqual(wanted.outputShape);
    expect(bn.batchesTracked).toBe(wanted.buffersAfter.num_batches_tracked);
    expect([...bn.runningMean!]).toEqual(wanted.buffersAfter.running_mean);
    expect([...bn.runningVar!]).toEqual(wanted.buffersAfter.running_var);
  } else {
    expect(call).toThrow(/^BatchNorm[123]d\(\d+\): .* expected .*, got /);
    expect(bn.stateDict()).toEqual(before); // PyTorch counts the batches it refuses; we do not
  }
});

test.each(goldenCases('train_mlp'))('$id: the steps of training follow PyTorch', ({ attributes: a, tensors: T }) => {
  const layers = a.sizes.slice(0, -2).flatMap((size: number, i: number) => {
    const next = a.sizes[i + 1];
    return [new Linear(size, next), new BatchNorm1d(next, { eps: a.eps, momentum: a.bnMomentum }), new Tanh()];
  });
  const net = new Sequential(...layers, new Linear(a.sizes.at(-2), a.sizes.at(-1)));
  const torchName = (name: string) =>
    name
      .replace('gamma', 'weight')
      .replace('beta', 'bias')
      .replace('runningMean', 'running_mean')
      .replace('runningVar', 'running_var');
  const state = net.stateDict();
  for (const name in state) {
    const initial = T[`init.${torchName(name)}`];
    if (initial) state[name].data.set(initial.data);
  }
  net.loadStateDict(state);
  const optimizer = new SGD(net.parameters(), { lr: a.lr, momentum: a.sgdMomentum, weightDecay: a.weightDecay });
  const failures: string[] = [];
  const compareState = (prefix: string, values: Record<string, ArrayLike<number>>) => {
    for (const [name, actual] of Object.entries(values)) {
      const truth = T[`${prefix}.${torchName(name)}`];
      if (truth && !(errorRatio(truth, actual, 'tol') <= 1))
        failures.push(`${prefix}.${name} is ${errorRatio(truth, actual, 'tol')} times the tolerance`);
    }
  };

  const losses = new Float64Array(a.steps);
  const [batch, features] = [a.batch, a.sizes[0]];
  for (let k = 0; k < a.steps; k++) {
    const x = tensor((T.X.data as Float32Array).slice(k * batch * features, (k + 1) * batch * features), [
      batch,
      features,
    ]);
    const { loss, grad } = crossEntropy(
      net.forward(x),
      (T.labels.data as Int32Array).subarray(k * batch, (k + 1) * batch),
    );
    losses[k] = loss;
    net.zeroGrad();
    net.backward(grad);
    if (k === 0) {
      const names = Object.keys(net.stateDict()).filter((name) => !/running|batches/.test(name));
      compareState('grad1', Object.fromEntries(net.parameters().map((parameter, i) => [names[i], parameter.grad])));
    }
    optimizer.step();
    x.dispose();
    if ([1, 10, a.steps].includes(k + 1)) {
      compareState(
        `after${k + 1}`,
        Object.fromEntries(Object.entries(net.stateDict()).map(([name, { data }]) => [name, data])),
      );
    }
  }
  expect(errorRatio(T.loss, losses, 'tol')).toBeLessThanOrEqual(1);
  net.eval();
  const rows = T.eval_x.shape[0];
  expect(
    errorRatio(
      T.eval_logits,
      net.forward({ data: T.eval_x.data as Float32Array, shape: [rows, features] }).data,
      'tol',
    ),
  ).toBeLessThanOrEqual(1);
  expect(
    errorRatio(
      T.eval_logits,
      net.compile()({ data: T.eval_x.data as Float32Array, shape: [rows, features] }).data,
      'tol',
    ),
  ).toBeLessThanOrEqual(1);
  expect(failures).toEqual([]);
});

test.each(goldenCases('fold_linear_bn'))(
  '$id: a compiled pair gives the output of the pair',
  ({ attributes: a, tensors: T }) => {
    const linear = new Linear(a.inFeatures, a.outFeatures, { bias: a.bias });
    linear.weight.data.set(T.linear_weight.data);
    if (a.bias) linear.bias!.data.set(T.linear_bias.data);
    const bn = new BatchNorm1d(a.outFeatures, { eps: a.eps });
    bn.gamma!.data.set(T.bn_weight.data);
    bn.beta!.data.set(T.bn_bias.data);
    bn.runningMean!.set(T.bn_running_mean.data);
    bn.runningVar!.set(T.bn_running_var.data);
    const run = new Sequential(linear, bn).compile();
    expect(run.steps).toEqual([`linear ${a.inFeatures} → ${a.outFeatures}`]);
    expect(errorRatio(T.y, run(plain(T.x)).data, 'tol')).toBeLessThanOrEqual(1);
  },
);
