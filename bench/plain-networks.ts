// Whole networks as plain loops: what compiled networks are checked against and held beside.

import type { Sequential } from '../src/index.ts';
import { type Builder, type ConvNorm, type Convnet, type ConvShape, foldedNorm } from './convnets.ts';
import { EPS } from './workload.ts';

/** y = x·Wᵀ + b for weights `[out, in]`. */
function linear(x: Float32Array, weight: ArrayLike<number>, bias: ArrayLike<number>, y: Float32Array): void {
  const [depth, cols] = [weight.length / bias.length, bias.length];
  for (let row = 0; row < y.length / cols; row++) {
    for (let o = 0; o < cols; o++) {
      let sum = bias[o];
      for (let i = 0; i < depth; i++) sum += x[row * depth + i] * weight[o * depth + i];
      y[row * cols + o] = sum;
    }
  }
}

/** The digits network in evaluation, batch norm folded into coefficients: its output is `y`. */
export function plainDigitsNetwork(net: Sequential, rows: number, x: Float32Array) {
  const state = net.stateDict();
  const vector = (name: string) => Float32Array.from(state[name].data as ArrayLike<number>);
  const stages = [0, 3, 6].map((first) => {
    const [bias, gamma, beta] = [`${first}.bias`, `${first + 1}.gamma`, `${first + 1}.beta`].map(vector);
    const [mean, variance] = [`${first + 1}.runningMean`, `${first + 1}.runningVar`].map(vector);
    const scale = gamma.map((value, c) => value / Math.sqrt(variance[c] + EPS));
    const shift = beta.map((value, c) => value - mean[c] * scale[c]);
    return { weight: vector(`${first}.weight`), bias, scale, shift, y: new Float32Array(rows * bias.length) };
  });
  const [weight, bias] = ['9.weight', '9.bias'].map(vector);
  const y = new Float32Array(rows * bias.length);
  const work = () => {
    let from = x;
    for (const { weight, bias, scale, shift, y } of stages) {
      linear(from, weight, bias, y);
      for (let i = 0; i < y.length; i++) y[i] = Math.tanh(y[i] * scale[i % scale.length] + shift[i % scale.length]);
      from = y;
    }
    linear(from, weight, bias, y);
  };
  return { work, y };
}

/** An image with channels last, and the loops that fill it. */
interface Plain {
  readonly data: Float32Array;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** Weights `[out, in/groups, k, k]` as `[out, k, k, in/groups]`. */
function channelsInnermost(weight: Float32Array, { inChannels, groups, kernel }: ConvShape): Float32Array {
  const own = inChannels / groups;
  const taps = kernel * kernel;
  return weight.map((_, i) => {
    const [tap, c] = [Math.floor(i / own) % taps, i % own];
    return weight[(Math.floor(i / (own * taps)) * own + c) * taps + tap];
  });
}

/** One convolution with its norm folded into its weights. */
function convolution(conv: ConvNorm, x: Plain, y: Float32Array): () => void {
  const { weight, bias } = foldedNorm(conv, EPS);
  const w = channelsInnermost(weight, conv);
  return () => convolve(conv, x, w, bias, y);
}

/** A function of its own: over what a closure holds, engines run such loops at half the speed. */
function convolve(
  { inChannels, outChannels, kernel, stride, padding, groups }: ConvShape,
  { data: x, height, width }: Plain,
  w: Float32Array,
  bias: ArrayLike<number>,
  y: Float32Array,
): void {
  const [own, whole] = [inChannels / groups, outChannels / groups];
  let at = 0;
  for (let top = -padding; top + kernel <= height + padding; top += stride) {
    for (let left = -padding; left + kernel <= width + padding; left += stride) {
      for (let o = 0; o < outChannels; o++) {
        const first = Math.floor(o / whole) * own;
        let sum = bias[o];
        for (let i = Math.max(0, top); i < Math.min(height, top + kernel); i++) {
          for (let j = Math.max(0, left); j < Math.min(width, left + kernel); j++) {
            const from = (i * width + j) * inChannels + first;
            const by = ((o * kernel + i - top) * kernel + j - left) * own;
            for (let c = 0; c < own; c++) sum += x[from + c] * w[by + c];
          }
        }
        y[at++] = sum;
      }
    }
  }
}

/**
 * A network of convolutions on one image with channels last, and its output. Each operation has
 * an array of its own.
 */
export function plainConvnet(net: Convnet, image: Float32Array) {
  const steps: (() => void)[] = [];
  const [channels, height, width] = net.input;
  const make = (channels: number, height: number, width: number): Plain => ({
    data: new Float32Array(channels * height * width),
    channels,
    height,
    width,
  });
  const builder: Builder<Plain> = {
    convNorm(x, conv) {
      const side = (length: number) => Math.floor((length + 2 * conv.padding - conv.kernel) / conv.stride) + 1;
      const y = make(conv.outChannels, side(x.height), side(x.width));
      steps.push(convolution(conv, x, y.data));
      return y;
    },
    activate(x, name) {
      const y = make(x.channels, x.height, x.width);
      const most = name === 'relu6' ? 6 : Number.POSITIVE_INFINITY;
      steps.push(() => {
        for (let i = 0; i < y.data.length; i++) y.data[i] = Math.min(Math.max(x.data[i], 0), most);
      });
      return y;
    },
    add(a, b) {
      const y = make(a.channels, a.height, a.width);
      steps.push(() => {
        for (let i = 0; i < y.data.length; i++) y.data[i] = a.data[i] + b.data[i];
      });
      return y;
    },
    maxPool(x) {
      const half = (length: number) => Math.floor((length - 1) / 2) + 1;
      const y = make(x.channels, half(x.height), half(x.width));
      steps.push(() => maxPool(x, y));
      return y;
    },
    classify(x, { weight, bias, outFeatures }) {
      const y = make(outFeatures, 1, 1);
      const pixels = x.height * x.width;
      const average = new Float32Array(x.channels);
      steps.push(() => {
        average.fill(0);
        for (let i = 0; i < x.data.length; i++) average[i % x.channels] += x.data[i] / pixels;
        linear(average, weight, bias, y.data);
      });
      return y;
    },
  };
  const { data: y } = net.build(builder, { data: image, channels, height, width });
  return {
    y,
    work: () => {
      for (const step of steps) step();
    },
  };
}

/** 3 × 3, stride 2, padding 1. */
function maxPool(x: Plain, y: Plain): void {
  let at = 0;
  for (let i = 0; i < y.height; i++) {
    for (let j = 0; j < y.width; j++) {
      for (let c = 0; c < x.channels; c++) {
        let most = Number.NEGATIVE_INFINITY;
        for (let r = Math.max(0, 2 * i - 1); r < Math.min(x.height, 2 * i + 2); r++) {
          for (let s = Math.max(0, 2 * j - 1); s < Math.min(x.width, 2 * j + 2); s++)
            most = Math.max(most, x.data[(r * x.width + s) * x.channels + c]);
        }
        y.data[at++] = most;
      }
    }
  }
}
