// The reference data of PyTorch for everything beside plain batch norm, through the public layers.

import { afterAll, describe, expect, test } from 'vitest';
import {
  BatchNorm,
  BatchRenorm,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  LayerNorm,
  type Layout,
  Moments,
  RecurrentBatchNorm1d,
  RMSNorm,
  type TensorLike,
  tensor,
} from '../../src/index.ts';
import { errorRatio, type GoldenCase, type GoldenTensor, goldenCases, plain } from '../support/golden.ts';

/** Tensors of core and hard cases, and those of them outside the strict tolerance. */
const strictly = { tensors: 0, failures: [] as string[] };

afterAll(() => {
  expect(strictly.tensors).toBeGreaterThan(200);
  expect(strictly.failures.length / strictly.tensors, strictly.failures.join('\n')).toBeLessThanOrEqual(0.02);
});

/** Puts a golden tensor where it is asked for. */
const places: Record<string, (t: GoldenTensor) => TensorLike> = {
  'plain arrays': plain,
  tensors: (t) => tensor(plain(t).data, t.shape),
};

/** Collects what is out of tolerance; counts what is outside the strict one. */
function checker({ id, tier, tensors }: GoldenCase) {
  const failures: string[] = [];
  const check = (name: string, actual: ArrayLike<number> | null | undefined) => {
    const ratio = errorRatio(tensors[name], actual ?? [], 'tol');
    if (!(ratio <= 1)) failures.push(`${name} is ${ratio} times the tolerance`);
    if (tier === 'extreme') return;
    strictly.tensors++;
    const strict = errorRatio(tensors[name], actual ?? [], 'strict');
    if (!(strict <= 1)) strictly.failures.push(`${id} ${name}: ${strict}`);
  };
  return { failures, check };
}

const layoutOf = (a: GoldenCase['attributes']): Layout =>
  a.layout === 'channels_last' ? 'channels-last' : 'channels-first';

interface Affine {
  gamma: { data: Float32Array; grad: Float32Array } | null;
  beta: { data: Float32Array; grad: Float32Array } | null;
}

/** Weight and bias, where a case has them. */
function setAffine({ gamma, beta }: Affine, { weight, bias }: GoldenCase['tensors']): void {
  if (weight) gamma?.data.set(weight.data);
  if (bias) beta?.data.set(bias.data);
}

describe.each(Object.keys(places))('on %s', (kind) => {
  const place = places[kind];

  test.each(goldenCases('layer_norm', 'rms_norm', 'group_norm'))('$id', (golden) => {
    const { op, attributes: a, tensors: T } = golden;
    const { eps } = a;
    const rows = { eps, affine: T.bias ? true : T.weight ? ('gamma' as const) : false };
    const norm =
      op === 'group_norm'
        ? new GroupNorm(a.numGroups, a.numChannels, { eps, affine: a.affine, layout: layoutOf(a) })
        : new (op === 'layer_norm' ? LayerNorm : RMSNorm)(a.normalizedShape, rows);
    setAffine(norm, T);
    const { failures, check } = checker(golden);
    check('y', norm.forward(place(T.x)).data);
    if (T.mean) check('mean', norm.savedMean);
    check('rstd', norm.savedInvStd);
    check('dx', norm.backward(place(T.dy)).data);
    if (T.dweight) check('dweight', norm.gamma!.grad);
    if (T.dbias) check('dbias', norm.beta!.grad);
    norm.dispose();
    expect(failures).toEqual([]);
  });

  test.each(goldenCases('instance_norm'))('$id', (golden) => {
    const { attributes: a, tensors: T } = golden;
    const norm = new { InstanceNorm1d, InstanceNorm2d, InstanceNorm3d }[a.module as 'InstanceNorm1d'](a.numFeatures, {
      eps: a.eps,
      momentum: a.momentum,
      affine: a.affine,
      trackRunningStats: a.trackRunningStats,
      layout: layoutOf(a),
    });
    setAffine(norm, T);
    const { failures, check } = checker(golden);
    for (let b = 0; b < a.batches; b++) {
      const y = norm.forward(place(T[`x${b}`]) as never) as TensorLike;
      if (a.trackRunningStats) {
        check(`running_mean${b}`, norm.runningMean);
        check(`running_var${b}`, norm.runningVar);
      }
      if (b === a.batches - 1) check('y', y.data);
    }
    check('dx', norm.backward(place(T.dy)).data);
    if (T.dweight) check('dweight', norm.gamma!.grad);
    if (T.dbias) check('dbias', norm.beta!.grad);
    if (T.y_eval) {
      norm.eval();
      norm.runningMean!.set(T.eval_running_mean.data);
      norm.runningVar!.set(T.eval_running_var.data);
      check('y_eval', (norm.forward(place(T.x0) as never) as TensorLike).data);
    }
    norm.dispose();
    expect(failures).toEqual([]);
  });

  test.each(goldenCases('masked_batch_norm'))('$id', (golden) => {
    const { attributes: a, tensors: T } = golden;
    const bn = new BatchNorm(T.weight.shape[0], { eps: a.eps, momentum: a.momentum, layout: layoutOf(a) });
    setAffine(bn, T);
    const { failures, check } = checker(golden);
    for (let b = 0; T[`x${b}`]; b++) {
      const { data, shape } = T[`mask${b}`];
      const lengths = T[`lengths${b}`];
      bn.zeroGrad();
      const { data: y } = bn.forward(
        place(T[`x${b}`]),
        lengths ? { lengths: lengths.data } : { mask: { data, shape } },
      );
      check(`y${b}`, y);
      check(`mean${b}`, bn.savedMean);
      check(`dx${b}`, bn.backward(place(T[`dy${b}`])).data);
      check(`dweight${b}`, bn.gamma!.grad);
      check(`dbias${b}`, bn.beta!.grad);
      check(`running_mean${b}`, bn.runningMean);
      check(`running_var${b}`, bn.runningVar);
    }
    bn.dispose();
    expect(failures).toEqual([]);
  });

  test.each(goldenCases('timestep_batch_norm'))('$id', (golden) => {
    const { attributes: a, tensors: T } = golden;
    const { eps, momentum, maxSteps } = a;
    const norm = new RecurrentBatchNorm1d(T.weight.shape[0], { maxSteps, eps, momentum });
    setAffine(norm, T);
    const { failures, check } = checker(golden);
    for (let b = 0; T[`x${b}`]; b++) {
      norm.zeroGrad();
      check(`y${b}`, norm.forward(place(T[`x${b}`]), { lengths: T[`lengths${b}`].data }).data);
      check(`mean${b}`, norm.savedMean);
      check(`dx${b}`, norm.backward(place(T[`dy${b}`])).data);
      check(`dweight${b}`, norm.gamma!.grad);
      check(`dbias${b}`, norm.beta!.grad);
      check(`running_mean${b}`, norm.runningMean);
      check(`running_var${b}`, norm.runningVar);
    }
    norm.runningMean!.set(T.eval_running_mean.data);
    norm.runningVar!.set(T.eval_running_var.data);
    check('y_eval', norm.eval().forward(place(T.eval_x)).data);
    norm.dispose();
    expect(failures).toEqual([]);
  });

  test.each(goldenCases('batch_renorm'))('$id', (golden) => {
    const { attributes: a, tensors: T } = golden;
    const { eps, momentum, rMax, dMax, stat } = a;
    const average = stat === 'std' ? 'std' : 'variance';
    const norm = new BatchRenorm(T.weight.shape[0], { eps, momentum, rMax, dMax, average });
    setAffine(norm, T);
    norm.runningMean!.set(T.running_mean_init.data);
    // what is kept is a variance; the deviation with eps in it comes back out of it
    const variances = stat === 'std' ? T.running_std_init.data.map((s) => s * s - eps) : T.running_var_init.data;
    norm.runningVar!.set(variances);
    const { failures, check } = checker(golden);
    for (let b = 0; b < 3; b++) {
      const { data: y } = norm.forward(place(T[`x${b}`]));
      check(`r${b}`, norm.savedR);
      check(`d${b}`, norm.savedD);
      check(`running_mean${b}`, norm.runningMean);
      if (stat === 'std')
        check(
          `running_std${b}`,
          norm.runningVar!.map((v) => Math.sqrt(v + eps)),
        );
      else check(`running_var${b}`, norm.runningVar);
      if (b === 2) check('y', y);
    }
    check('dx', norm.backward(place(T.dy)).data);
    check('dweight', norm.gamma!.grad);
    check('dbias', norm.beta!.grad);
    norm.dispose();
    expect(failures).toEqual([]);
  });

  test.each(goldenCases('ghost_batch_norm'))('$id', (golden) => {
    const { attributes: a, tensors: T } = golden;
    const { eps, momentum, virtualBatchSize } = a;
    const bn = new BatchNorm(T.weight.shape[0], { eps, momentum, virtualBatchSize });
    setAffine(bn, T);
    const { failures, check } = checker(golden);
    check('y', bn.forward(place(T.x)).data);
    check('mean', bn.savedMean);
    check('dx', bn.backward(place(T.dy)).data);
    check('dweight', bn.gamma!.grad);
    check('dbias', bn.beta!.grad);
    check('running_mean', bn.runningMean);
    check('running_var', bn.runningVar);
    expect(bn.batchesTracked).toBe(T.mean.shape[0]);
    bn.dispose();
    expect(failures).toEqual([]);
  });
});

test.each(goldenCases('merge_stats'))('$id', (golden) => {
  const { attributes: a, tensors: T } = golden;
  const { failures, check } = checker(golden);
  const [rows, channels] = T.x.shape;
  const { data } = plain(T.x);
  let from = 0;
  const shards = (a.shardSizes as number[]).map((size, i) => {
    const shard = new Moments(channels).add({
      data: data.slice(from * channels, (from + size) * channels),
      shape: [size, channels],
    });
    from += size;
    expect(shard.count).toBe(T.shard_count.data[i]);
    // against numbers of the generator's own
    const [mean, m2] = [T.shard_mean, T.shard_m2].map((t) =>
      Array.from(t.data).slice(i * channels, (i + 1) * channels),
    );
    const far = (values: Float64Array, truth: number[], rounding: number) =>
      values.some((value, c) => !(Math.abs(value - truth[c]) <= rounding * (Math.abs(truth[c]) + 1)));
    expect([far(shard.mean, mean, 1e-12), far(shard.m2, m2, 1e-9)]).toEqual([false, false]);
    return shard;
  });
  expect(from).toBe(rows);
  const all = Moments.merged(shards);
  check('mean', all.mean);
  check('var', all.variance());
  check('var_unbiased', all.variance('unbiased'));

  // the same micro-batches through a layer
  const bn = new BatchNorm(channels, { eps: a.eps, affine: true, onSingleValue: 'skip-update' });
  const cut = (t: GoldenTensor) => {
    let row = 0;
    return (a.shardSizes as number[]).map((size) => {
      row += size;
      return {
        data: Float32Array.from(t.data as Float32Array).slice((row - size) * channels, row * channels),
        shape: [size, channels],
      };
    });
  };
  check(
    'y',
    bn.forwardMicroBatches(cut(T.x)).flatMap(({ data }) => [...data]),
  );
  check(
    'dx',
    bn.backwardMicroBatches(cut(T.dy)).flatMap(({ data }) => [...data]),
  );
  check('sum_dy', bn.beta!.grad);
  expect(failures).toEqual([]);
});
