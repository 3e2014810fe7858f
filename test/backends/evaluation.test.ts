// Evaluation against f64 wherever the mean lies: channels near 0 and far from it beside one
// another, in every form that evaluation has.

import { describe, expect, test } from 'vitest';
import {
  ActivationLayer,
  BatchNorm,
  BatchNorm2d,
  type BatchNormArguments,
  BatchRenorm,
  batchNorm,
  DomainBatchNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  type Layer,
  type Layout,
  Linear,
  Random,
  RecurrentBatchNorm1d,
  Sequential,
  type TensorLike,
  tensor,
} from '../../src/index.ts';
import { load } from '../../src/infer/index.ts';
import { gradients, normalized } from '../support/reference.ts';
import { ulpOf } from '../support/suites.ts';

/** |mean|/σ of one channel after the other. */
const RATIOS = [0, 1e6, 0.5, 1e3, 1.9, 2.1, 100, 1, 1e5, 3, 18.6, 1e4, 2];
const EPS = 1e-5;
const channels = RATIOS.length;

/** Statistics and parameters by channel, in f32; spreads, gammas and betas all differ. */
const STD = RATIOS.map((_, c) => 0.3 * 1.7 ** ((c * 5) % 7));
const STATISTICS = {
  mean: Float32Array.from(RATIOS, (ratio, c) => (c % 2 ? ratio : -ratio) * STD[c]),
  variance: Float32Array.from(STD, (std) => std * std),
  gamma: Float32Array.from(RATIOS, (_, c) => (c % 3 ? 1 : -1) * (0.4 + 0.13 * c)),
  beta: Float32Array.from(RATIOS, (_, c) => 0.9 - 0.17 * c),
};

/** A batch of such channels. */
interface Batch {
  readonly x: Float32Array;
  readonly shape: readonly number[];
  readonly layout: Layout;
  readonly channelOf: (i: number) => number;
}

const count = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

function batchOf(shape: readonly number[], layout: Layout): Batch {
  const random = new Random(count(shape));
  const inner = layout === 'channels-last' ? 1 : count(shape.slice(2));
  const channelOf = (i: number) => Math.floor(i / inner) % channels;
  const draw = (c: number) => STATISTICS.mean[c] + STD[c] * random.normal();
  return { x: Float32Array.from({ length: count(shape) }, (_, i) => draw(channelOf(i))), shape, layout, channelOf };
}

/** The norm of a value of channel `c`, in f64. */
function exact(x: number, c: number): number {
  return normalized(x, c, STATISTICS, { ...STATISTICS, eps: EPS });
}

/** Puts the statistics and parameters into a layer, for each of `steps`. */
function filled<
  N extends Record<'gamma' | 'beta', { data: Float32Array } | null> &
    Record<'runningMean' | 'runningVar', Float32Array | null>,
>(norm: N, steps = 1): N {
  norm.gamma!.data.set(STATISTICS.gamma);
  norm.beta!.data.set(STATISTICS.beta);
  for (let t = 0; t < steps; t++) {
    norm.runningMean!.set(STATISTICS.mean, t * channels);
    norm.runningVar!.set(STATISTICS.variance, t * channels);
  }
  return norm;
}

type Place = (data: Float32Array, shape: readonly number[]) => TensorLike;

/** An output of a batch: `after` of `value` of the norm of `before` of x, where these are given. */
interface Output {
  readonly y: TensorLike;
  readonly before?: (x: number) => number;
  readonly value?: (y: number, i: number) => number;
  readonly after?: (y: number) => number;
}

type Form = (batch: Batch, place: Place) => Output;

const relu = (y: number) => Math.max(y, 0);

function viaFunction({ x, shape, layout }: Batch, place: Place, more: Partial<BatchNormArguments> = {}) {
  return batchNorm(place(x, shape), { ...STATISTICS, layout, ...more });
}

/** A network in evaluation, compiled; and what is left of it after a file. */
function viaNetwork(layers: Layer[], saved: boolean, { x, shape }: Batch, place: Place): TensorLike {
  const net = new Sequential(...layers).eval().compile();
  return (saved ? load(net.save()) : net)(place(x, shape));
}

const normFor = ({ shape, layout }: Batch) =>
  filled(new (shape.length === 4 ? BatchNorm2d : BatchNorm)(channels, { layout })) as BatchNorm;

const FORMS: Record<string, Form> = {
  'batchNorm()': (batch, place) => ({ y: viaFunction(batch, place) }),
  'batchNorm() in place': ({ x, shape, layout }, place) => {
    const out = place(x.slice(), shape);
    return { y: batchNorm(out, { ...STATISTICS, layout, out }) };
  },
  'batchNorm() with a residual and an activation': (batch, place) => {
    const added = batch.x.map((_, i) => (i % 11) / 4 - 1);
    const y = viaFunction(batch, place, { residual: place(added, batch.shape), activation: 'relu' });
    return { y, value: (value, i) => value + added[i], after: relu };
  },
  BatchNorm: (batch, place) => ({ y: normFor(batch).eval().forward(place(batch.x, batch.shape)) }),
  'BatchNorm, frozen, in training': (batch, place) => ({
    y: normFor(batch).freeze().forward(place(batch.x, batch.shape)),
  }),
  'BatchNorm with a mask': (batch, place) => {
    const { x, shape } = batch;
    const counts = Uint8Array.from({ length: shape[0] }, (_, n) => (n % 3 === 1 ? 0 : 1));
    const mask = { data: counts, shape: [shape[0], ...shape.slice(2).map(() => 1)] };
    const y = normFor(batch).eval().forward(place(x, shape), { mask });
    return { y, value: (value, i) => (counts[Math.floor((i * shape[0]) / x.length)] ? value : 0) };
  },
  BatchRenorm: ({ x, shape, layout }, place) => ({
    y: filled(new BatchRenorm(channels, { layout })).eval().forward(place(x, shape)),
  }),
  'DomainBatchNorm in its second domain': ({ x, shape, layout }, place) => {
    const norm = new DomainBatchNorm(channels, { domains: ['first', 'second'], layout }).eval();
    norm.forward(place(x, shape));
    norm.domain = 'second';
    return { y: filled(norm).forward(place(x, shape)) };
  },
  'InstanceNorm with running statistics': ({ x, shape, layout }, place) => {
    // rows as sequences of one step
    const long = shape.length > 2 ? shape : [shape[0], channels, 1];
    const norm = new (long.length === 4 ? InstanceNorm2d : InstanceNorm1d)(channels, {
      affine: true,
      trackRunningStats: true,
      layout,
    });
    return {
      y: filled(norm)
        .eval()
        .forward(place(x, long) as never) as TensorLike,
    };
  },
  'a compiled norm': (batch, place) => ({ y: viaNetwork([normFor(batch)], false, batch, place) }),
  'a loaded norm': (batch, place) => ({ y: viaNetwork([normFor(batch)], true, batch, place) }),
  'two compiled norms in a row': (batch, place) => {
    // −2x, normalised by the statistics of that
    const first = new BatchNorm(channels, { layout: batch.layout, eps: 0 });
    const second = filled(new BatchNorm(channels, { layout: batch.layout, eps: 4 * EPS }));
    first.gamma!.data.fill(-2);
    second.runningMean!.forEach((_, c, mean) => {
      mean[c] *= -2;
      second.runningVar![c] *= 4;
      second.gamma!.data[c] *= -1;
    });
    return { y: viaNetwork([first, second], false, batch, place) };
  },
  'a compiled norm before an activation': (batch, place) => ({
    y: viaNetwork([normFor(batch), new ActivationLayer('relu')], false, batch, place),
    after: relu,
  }),
  'a compiled norm behind an activation': (batch, place) => ({
    y: viaNetwork([new ActivationLayer('relu'), normFor(batch)], false, batch, place),
    before: relu,
  }),
  'a loaded norm between activations': (batch, place) => ({
    y: viaNetwork([new ActivationLayer('relu'), normFor(batch), new ActivationLayer('relu')], true, batch, place),
    before: relu,
    after: relu,
  }),
};

/** The worst error, in units in the last place of the largest output of its channel, and where. */
function worstError({ x, channelOf }: Batch, { y, before = Number, value = Number, after = Number }: Output) {
  const { data } = y;
  const truth = Array.from(x, (_, i) => value(exact(before(x[i]), channelOf(i)), i));
  const largest = new Array(channels).fill(0);
  truth.forEach((t, i) => {
    largest[channelOf(i)] = Math.max(largest[channelOf(i)], Math.abs(t));
  });
  let worst = { units: 0, ratio: 0 };
  truth.forEach((t, i) => {
    const units = Math.abs(data[i] - after(t)) / ulpOf(largest[channelOf(i)]);
    if (!(units <= worst.units)) worst = { units, ratio: RATIOS[channelOf(i)] };
  });
  return data.length === x.length ? worst : { units: Number.NaN, ratio: 0 };
}

const PLACES: Record<string, Place> = {
  'plain arrays': (data, shape) => ({ data: data.slice(), shape }),
  tensors: (data, shape) => tensor(data, shape),
};

/** Small, odd and large ones in both layouts. */
const BATCHES = [
  batchOf([7, 13], 'channels-first'),
  batchOf([301, 13], 'channels-first'),
  batchOf([3, 13, 5, 7], 'channels-first'),
  batchOf([3, 5, 7, 13], 'channels-last'),
  batchOf([2, 13, 61, 67], 'channels-first'),
  batchOf([2, 61, 67, 13], 'channels-last'),
];

describe.each(Object.keys(PLACES))('evaluation on %s', (kind) => {
  test.each(Object.keys(FORMS))(
    '%s: 4 units in the last place of the largest output, wherever the mean lies',
    (name) => {
      for (const batch of BATCHES) {
        const { units, ratio } = worstError(batch, FORMS[name](batch, PLACES[kind]));
        expect(units, `${batch.shape}, ${batch.layout}, |mean|/σ = ${ratio}`).toBeLessThanOrEqual(4);
      }
    },
  );
});

test.each(Object.keys(PLACES))('on %s, a compiled norm in front of a linear layer keeps its digits', (kind) => {
  const batch = batchOf([301, channels], 'channels-last');
  const linear = new Linear(channels, 5, { seed: 3 });
  const { data } = viaNetwork([normFor(batch), linear], true, batch, PLACES[kind]);
  const [weight, bias] = [linear.weight.data, linear.bias!.data];
  expect(data.length).toBe(301 * 5);
  data.forEach((got, i) => {
    const [n, o] = [Math.floor(i / 5), i % 5];
    const terms = RATIOS.map((_, c) => weight[o * channels + c] * exact(batch.x[n * channels + c], c));
    const truth = terms.reduce((sum, term) => sum + term, bias[o]);
    const size = terms.reduce((sum, term) => sum + Math.abs(term), Math.abs(bias[o]));
    expect(Math.abs(got - truth)).toBeLessThanOrEqual(4 * ulpOf(size));
  });
});

describe.each(Object.keys(PLACES))('sequences on %s', (kind) => {
  test('RecurrentBatchNorm1d: each step by its own statistics, 4 units in the last place, wherever the mean lies', () => {
    const [samples, steps] = [31, 5];
    const { x, channelOf } = batchOf([samples, steps, channels], 'channels-last');
    const norm = filled(new RecurrentBatchNorm1d(channels, { maxSteps: steps }), steps).eval();
    // step t: means that lie t channels further on
    const channelAt = (i: number) => (channelOf(i) + (Math.floor(i / channels) % steps)) % channels;
    const order = [0, 1, 2, 3, 4].flatMap((t) => RATIOS.map((_, c) => (c + t) % channels));
    norm.runningMean!.set(order.map((c) => STATISTICS.mean[c]));
    norm.runningVar!.set(order.map((c) => STATISTICS.variance[c]));
    const moved = x.map((value, i) => value - STATISTICS.mean[channelOf(i)] + STATISTICS.mean[channelAt(i)]);
    const lengths = Array.from({ length: samples }, (_, n) => 1 + (n % steps));
    const counts = (i: number) => Math.floor(i / channels) % steps < lengths[Math.floor(i / (channels * steps))];
    const { data } = norm.forward(PLACES[kind](moved, [samples, steps, channels]) as never, { lengths }) as TensorLike;
    const truth = Array.from(moved, (value, i) => {
      const [c, at] = [channelOf(i), channelAt(i)];
      if (!counts(i)) return 0;
      const running = { mean: [STATISTICS.mean[at]], variance: [STATISTICS.variance[at]] };
      return normalized(value, 0, running, { gamma: [STATISTICS.gamma[c]], beta: [STATISTICS.beta[c]] });
    });
    truth.forEach((t, i) => {
      const same = truth.filter((_, k) => k % (channels * steps) === i % (channels * steps));
      const bound = 4 * ulpOf(Math.max(...same.map(Math.abs)));
      expect(Math.abs(data[i] - t), `|mean|/σ = ${RATIOS[channelAt(i)]}`).toBeLessThanOrEqual(bound);
    });
  });

  test.each(['channels-first', 'channels-last'] as const)(
    '%s: after one batch at momentum 1 evaluation gives exactly what training gave, a million from 0',
    (layout) => {
      const options = { momentum: 1, runningVariance: 'biased', affine: false, layout } as const;
      const shape = layout === 'channels-first' ? [4, 1, 1, 1] : [4, 1];
      const x = PLACES[kind](Float32Array.of(999998, 999999, 1000001, 1000002), shape);
      const norm = new BatchNorm(1, options);
      const trained = norm.forward(x).data.slice();
      expect([...trained].map((value) => value.toFixed(4))).toEqual(['-1.2649', '-0.6325', '0.6325', '1.2649']);
      expect(norm.eval().forward(x).data).toEqual(trained);
      const statistics = { mean: norm.runningMean!, variance: norm.runningVar! };
      expect(batchNorm(x, { ...statistics, layout }).data).toEqual(trained);
      const compiled = new Sequential(norm).eval().compile();
      expect(compiled(x).data).toEqual(trained);
      expect(load(compiled.save())(x).data).toEqual(trained);
    },
  );

  test("gradients of evaluation: dx and gamma's, a million from 0", () => {
    const batch = batchOf([7, 13, 5, 3], 'channels-first');
    const norm = normFor(batch).eval();
    norm.forward(PLACES[kind](batch.x, batch.shape));
    const random = new Random(8);
    const dy = batch.x.map(() => random.normal());
    const dx = norm.backward(PLACES[kind](dy, batch.shape)).data;
    const { mean, variance } = STATISTICS;
    const exact = gradients(batch.x, dy, batch.channelOf, { mean, variance }, { ...STATISTICS, eps: EPS });
    for (let c = 0; c < channels; c++) {
      let [size, worst] = [0, 0];
      batch.x.forEach((value, i) => {
        if (batch.channelOf(i) !== c) return;
        size += Math.abs(dy[i] * normalized(value, c, { mean, variance }, { eps: EPS }));
        worst = Math.max(worst, Math.abs(dx[i] - exact.dx[i]) / ulpOf(exact.dx[i]));
      });
      expect(worst, `dx, |mean|/σ = ${RATIOS[c]}`).toBeLessThanOrEqual(2);
      expect(Math.abs(norm.gamma!.grad[c] - exact.dgamma[c]), `dgamma, ${RATIOS[c]}`).toBeLessThanOrEqual(
        2 ** -22 * size,
      );
    }
  });
});
