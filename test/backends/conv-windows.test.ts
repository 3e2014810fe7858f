// Convolutions wide enough for the kernels that take whole images: against sums in f64, with what
// is not finite, and on threads.

import { afterAll, describe, expect, test } from 'vitest';
import {
  BatchNorm2d,
  Conv2d,
  ConvTranspose2d,
  close,
  Graph,
  info,
  type Layout,
  Random,
  ReLU,
  Sequential,
  setThreads,
  tensor,
} from '../../src/index.ts';
import { gridOf } from '../../src/layers/conv-geometry.ts';
import { readConv } from '../../src/layers/conv-options.ts';
import { planOf } from '../../src/layers/conv-plan.ts';
import { convolve } from '../support/convolve.ts';
import { bitsOf } from '../support/data.ts';

const random = new Random(31);
const U = 2 ** -24;
const draw = (length: number) => Float32Array.from({ length }, () => random.normal());
const size = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/** `[N, C, H, W]` as `[N, H, W, C]`, and back. */
function turned(x: ArrayLike<number>, [n, c, h, w]: readonly number[], back: boolean): Float32Array {
  const y = new Float32Array(x.length);
  for (let s = 0; s < n; s++)
    for (let k = 0; k < c; k++)
      for (let p = 0; p < h * w; p++) {
        const [first, last] = [(s * c + k) * h * w + p, (s * h * w + p) * c + k];
        if (back) y[first] = x[last];
        else y[last] = x[first];
      }
  return y;
}

interface Case {
  readonly transposed: boolean;
  readonly input: readonly [number, number, number, number];
  readonly out: number;
  readonly padding: number;
  readonly layout: Layout;
}

const CASES: Case[] = [];
for (const transposed of [false, true])
  for (const [input, out, padding] of [
    [[1, 32, 7, 7], 32, 1],
    [[2, 32, 5, 6], 40, 0],
    [[1, 36, 4, 9], 48, 2],
    [[3, 64, 6, 6], 32, 1],
    [[2, 32, 12, 11], 32, 1],
  ] as const)
    CASES.push({ transposed, input, out, padding, layout: out === 32 ? 'channels-last' : 'channels-first' });

function layerOf({ transposed, input, out, padding, layout }: Case) {
  const Kind = transposed ? ConvTranspose2d : Conv2d;
  return new Kind(input[1], out, 3, { padding, layout, seed: 5 });
}

/** What the layer should give, and how far rounding may take it: sums of absolute values. */
function expected({ transposed, input, padding }: Case, conv: ReturnType<typeof layerOf>, x: Float32Array) {
  const { weight, bias } = conv;
  const { shape } = conv.stateDict().weight;
  const options = { shape, padding, transposed };
  const given = { data: x, shape: input };
  const sum = convolve(given, { ...options, weight: weight.data, bias: bias!.data });
  const all = convolve({ data: x.map(Math.abs), shape: input }, { ...options, weight: weight.data.map(Math.abs) });
  return { sum, all };
}

describe.each(CASES.map((one) => [JSON.stringify(one), one] as const))('%s', (_, one) => {
  const { transposed, input, out, padding, layout } = one;
  const isLast = layout === 'channels-last';
  const x = draw(size(input));
  const shapeOf = ([n, c, h, w]: readonly number[]) => (isLast ? [n, h, w, c] : [n, c, h, w]);
  const given = (values: Float32Array, shape: readonly number[]) => ({
    data: isLast ? turned(values, shape, false) : values.slice(),
    shape: shapeOf(shape),
  });
  const first = (values: Float32Array, shape: readonly number[]) => (isLast ? turned(values, shape, true) : values);

  test('is taken as whole images', () => {
    const name = transposed ? 'ConvTranspose2d' : 'Conv2d';
    const { spec } = readConv({ name, axes: 2, transposed }, input[1], out, 3, { padding, layout }, {});
    const conv = layerOf(one);
    const shape = shapeOf(input);
    const plan = planOf(gridOf(spec, shape, conv.outputShape(shape)), transposed ? 'input' : 'output');
    expect(plan.windows).toBeDefined();
  });

  test('forward and backward agree with sums in f64', () => {
    const conv = layerOf(one);
    const y = conv.forward(given(x, input));
    const { sum, all } = expected(one, conv, x);
    expect(y.shape).toEqual(shapeOf(sum.shape));
    first(y.data, sum.shape).forEach((value, i) => {
      if (!(Math.abs(value - sum.data[i]) <= 64 * U * (all.data[i] + 1)))
        expect.fail(`y[${i}]: ${value}, ${sum.data[i]}`);
    });
    // the gradient with respect to x is the convolution the other way round
    const dy = draw(sum.data.length);
    const dx = conv.backward(given(dy, sum.shape));
    const { weight } = conv;
    const { shape } = conv.stateDict().weight;
    const back = { shape, padding, transposed: !transposed };
    const want = convolve({ data: dy, shape: sum.shape }, { ...back, weight: weight.data });
    const most = convolve({ data: dy.map(Math.abs), shape: sum.shape }, { ...back, weight: weight.data.map(Math.abs) });
    expect(want.shape).toEqual([...input]);
    first(dx.data, input).forEach((value, i) => {
      if (!(Math.abs(value - want.data[i]) <= 64 * U * most.data[i]))
        expect.fail(`dx[${i}]: ${value}, ${want.data[i]}`);
    });
  });

  test('NaN and infinities stay in the windows that see them', () => {
    const conv = layerOf(one);
    const special = x.slice();
    const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    values.forEach((value, i) => {
      special[Math.floor(((i + 0.5) * special.length) / values.length)] = value;
    });
    const { sum, all } = expected(one, conv, special);
    const y = first(conv.forward(given(special, input)).data, sum.shape);
    expect(y.some(Number.isNaN)).toBe(true);
    y.forEach((value, i) => {
      const want = Math.fround(sum.data[i]);
      if (Object.is(value, want)) return;
      if (!(Math.abs(value - want) <= 64 * U * (all.data[i] + 1))) expect.fail(`y[${i}]: ${value}, ${want}`);
    });
  });

  test('sums of values that the transforms would take beyond f32 are what they are', () => {
    const conv = layerOf(one);
    conv.weight.data.forEach((value, i) => {
      conv.weight.data[i] = value / 64;
    });
    const large = x.map((value) => (value < 0 ? -1.5e38 : 1.5e38));
    const { sum, all } = expected(one, conv, large);
    first(conv.forward(given(large, input)).data, sum.shape).forEach((value, i) => {
      if (!(Math.abs(value - sum.data[i]) <= 256 * U * all.data[i])) expect.fail(`y[${i}]: ${value}, ${sum.data[i]}`);
    });
  });

  test('compiled, it stays within its certificate', () => {
    const channels = out;
    const net = new Sequential(layerOf(one), new BatchNorm2d(channels, { layout }), new ReLU()).eval();
    const run = net.compile({ samples: given(x, input) });
    const { bound, measured } = run.certificate!;
    measured.forEach((error, c) => {
      expect(error).toBeLessThanOrEqual(bound[c]);
      expect(bound[c]).toBeLessThan(2e-3);
    });
    run.dispose();
  });
});

test('a residual is added in the same pass, and may lie where the output goes', () => {
  const shape = [9, 10, 32];
  const net = new Graph({ x: shape }, (g, { x }) => {
    const options = { padding: 1, layout: 'channels-last' } as const;
    const inner = g.apply('a', new Conv2d(32, 32, 3, { ...options, seed: 1 }), x);
    const sum = g.add(
      g.apply('b', new Conv2d(32, 32, 3, { ...options, seed: 2 }), g.apply('relu', new ReLU(), inner)),
      inner,
    );
    return g.apply('last', new ReLU(), sum);
  }).eval();
  const x = { data: draw(2 * size(shape)), shape: [2, ...shape] };
  const run = net.compile();
  expect(run.steps).toEqual(['conv 3×3 32 → 32', 'elementwise, relu', 'conv 3×3 32 → 32 + residual, relu']);
  const want = net.forward(x).data;
  run(x).data.forEach((value, i) => {
    if (!(Math.abs(value - want[i]) < 1e-4)) expect.fail(`y[${i}]: ${value}, ${want[i]}`);
  });
  run.dispose();
});

afterAll(close);

test.runIf(info().backend !== 'js')('two, three and four threads give the bits of one', () => {
  const shape = [2, 30, 30, 64];
  const x = tensor(draw(size(shape)), shape);
  const bits = (threads: number) => {
    setThreads(threads);
    const conv = new Conv2d(64, 64, 3, { padding: 1, layout: 'channels-last', seed: 9 });
    const y = conv.forward(x);
    const dx = conv.backward(y);
    return [bitsOf(Float32Array.from(y.data)).join(), bitsOf(Float32Array.from(dx.data)).join()];
  };
  const alone = bits(1);
  for (const threads of [2, 3, 4]) expect(bits(threads)).toEqual(alone);
});

describe('depthwise', () => {
  const cases = [
    { kernel: [3, 3], stride: [1, 1], padding: [1, 1], channels: 12, lengths: [9, 14] },
    { kernel: [5, 5], stride: [2, 2], padding: [2, 2], channels: 9, lengths: [11, 7] },
    { kernel: [3, 5], stride: [2, 1], padding: [0, 40], channels: 8, lengths: [5, 6] },
    { kernel: [7, 3], stride: [1, 3], padding: [9, 2], channels: 5, lengths: [4, 13] },
  ];

  test.each(cases)('$kernel / $stride, padding $padding, forward and backward', (one) => {
    const { kernel, stride, padding, channels, lengths } = one;
    const shape = [2, ...lengths, channels];
    const options = { stride, padding, groups: channels, layout: 'channels-last', seed: 3 } as const;
    const conv = new Conv2d(channels, channels, kernel, options);
    const data = draw(size(shape));
    const y = conv.forward({ data, shape });
    // the same, as one channel is a convolution of its own
    const taps = kernel[0] * kernel[1];
    const wide = new Conv2d(channels, channels, kernel, { ...options, groups: 1 });
    wide.weight.data.fill(0);
    for (let c = 0; c < channels; c++) {
      const own = conv.weight.data.subarray(c * taps, (c + 1) * taps);
      wide.weight.data.set(own, (c * channels + c) * taps);
    }
    wide.bias!.data.set(conv.bias!.data);
    const want = wide.forward({ data, shape });
    expect(y.shape).toEqual(want.shape);
    const near = (got: Float32Array, expected: Float32Array) =>
      got.forEach((value, i) => {
        if (!(Math.abs(value - expected[i]) < 1e-4)) expect.fail(`${i}: ${value}, ${expected[i]}`);
      });
    near(y.data, want.data);
    const dy = { data: draw(y.data.length), shape: y.shape };
    near(conv.backward(dy).data, wide.backward(dy).data);
    for (let c = 0; c < channels; c++) {
      const from = (c * channels + c) * taps;
      near(conv.weight.grad.subarray(c * taps, (c + 1) * taps), wide.weight.grad.subarray(from, from + taps));
    }
    near(conv.bias!.grad, wide.bias!.grad);
  });
});
