// Networks of convolutions, written once for whatever can build them: ours, an ONNX model,
// TensorFlow.js' operations. Weights are random, norms have statistics that are not 0 and 1.

import { Random } from '../src/nn/random.ts';

export interface ConvShape {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly groups: number;
}

/** A convolution with the batch norm behind it. Weight `[out, in/groups, k, k]`. */
export interface ConvNorm extends ConvShape {
  readonly name: string;
  readonly weight: Float32Array;
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

/** Weight `[out, in]`. */
export interface Classifier {
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
}

/** Whoever builds networks, out of values of their own. */
export interface Builder<V> {
  convNorm(x: V, conv: ConvNorm): V;
  activate(x: V, name: 'relu' | 'relu6'): V;
  add(a: V, b: V): V;
  /** 3 × 3, stride 2, padding 1. */
  maxPool(x: V): V;
  /** The average over all pixels, then a linear layer. */
  classify(x: V, linear: Classifier): V;
}

export interface Convnet {
  readonly name: string;
  /** Other names, with commas between. */
  readonly also?: string;
  /** Of one image: channels, height, width. */
  readonly input: readonly [number, number, number];
  /** What an image becomes, where it stays one: channels, height, width. */
  readonly output?: readonly [number, number, number];
  /** Multiply-adds of an image. */
  readonly multiplyAdds: number;
  build<V>(builder: Builder<V>, x: V): V;
  /** The same without weights, whose arrays are empty: for whoever only asks for shapes. */
  trace<V>(builder: Builder<V>, x: V): V;
}

/** Weights in the order in which they are asked for: the same in every build. */
class Weights {
  readonly #random = new Random(11);
  readonly #isEmpty: boolean;
  #count = 0;
  /** Multiply-adds of an image of so many pixels. */
  multiplyAdds = 0;

  constructor(isEmpty = false) {
    this.#isEmpty = isEmpty;
  }

  #draw(length: number, center: number, spread: number): Float32Array {
    if (this.#isEmpty) return new Float32Array();
    return Float32Array.from({ length }, () => center + spread * this.#random.normal());
  }

  conv(outPixels: number, inChannels: number, outChannels: number, kernel: number, stride = 1, groups = 1): ConvNorm {
    const taps = (kernel * kernel * inChannels) / groups;
    this.multiplyAdds += outPixels * taps * outChannels;
    return {
      name: `conv${this.#count++}`,
      ...{ inChannels, outChannels, kernel, stride, groups, padding: (kernel - 1) / 2 },
      weight: this.#draw(outChannels * taps, 0, Math.sqrt(2 / taps)),
      gamma: this.#draw(outChannels, 1, 0.1),
      beta: this.#draw(outChannels, 0, 0.1),
      mean: this.#draw(outChannels, 0, 0.1),
      variance: this.#draw(outChannels, 1, 0.1).map((value) => Math.abs(value) + 0.1),
    };
  }

  linear(inFeatures: number, outFeatures: number): Classifier {
    this.multiplyAdds += inFeatures * outFeatures;
    const weight = this.#draw(outFeatures * inFeatures, 0, Math.sqrt(1 / inFeatures));
    return { name: 'fc', inFeatures, outFeatures, weight, bias: this.#draw(outFeatures, 0, 0.1) };
  }
}

/** Stages of two basic blocks each: channels, and the stride of the first. */
const RESNET18 = [
  [64, 1],
  [128, 2],
  [256, 2],
  [512, 2],
] as const;

function resnet18<V>(w: Weights, b: Builder<V>, x: V): V {
  let side = 112;
  let channels = 64;
  let y = b.maxPool(b.activate(b.convNorm(x, w.conv(side ** 2, 3, 64, 7, 2)), 'relu'));
  side = 56;
  for (const [out, first] of RESNET18) {
    for (const stride of [first, 1]) {
      side /= stride;
      const skip = stride > 1 || channels !== out ? b.convNorm(y, w.conv(side ** 2, channels, out, 1, stride)) : y;
      const inner = b.activate(b.convNorm(y, w.conv(side ** 2, channels, out, 3, stride)), 'relu');
      y = b.activate(b.add(b.convNorm(inner, w.conv(side ** 2, out, out, 3)), skip), 'relu');
      channels = out;
    }
  }
  return b.classify(y, w.linear(512, 1000));
}

/** Factor, channels, repeats, stride of the first. */
const MOBILENET2 = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

function mobilenet2<V>(w: Weights, b: Builder<V>, x: V): V {
  let side = 112;
  let channels = 32;
  let y = b.activate(b.convNorm(x, w.conv(side ** 2, 3, 32, 3, 2)), 'relu6');
  for (const [factor, out, repeats, first] of MOBILENET2) {
    for (let i = 0; i < repeats; i++) {
      const stride = i === 0 ? first : 1;
      const wide = channels * factor;
      let inner = y;
      if (factor > 1) inner = b.activate(b.convNorm(inner, w.conv(side ** 2, channels, wide, 1)), 'relu6');
      side /= stride;
      inner = b.activate(b.convNorm(inner, w.conv(side ** 2, wide, wide, 3, stride, wide)), 'relu6');
      inner = b.convNorm(inner, w.conv(side ** 2, wide, out, 1));
      y = stride === 1 && channels === out ? b.add(inner, y) : inner;
      channels = out;
    }
  }
  y = b.activate(b.convNorm(y, w.conv(side ** 2, channels, 1280, 1)), 'relu6');
  return b.classify(y, w.linear(1280, 1000));
}

function convnet(name: string, build: <V>(w: Weights, b: Builder<V>, x: V) => V): Convnet {
  const counted = new Weights(true);
  const nothing: Builder<null> = {
    convNorm: () => null,
    activate: () => null,
    add: () => null,
    maxPool: () => null,
    classify: () => null,
  };
  build(counted, nothing, null);
  return {
    name,
    input: [3, 224, 224],
    multiplyAdds: counted.multiplyAdds,
    build: (builder, x) => build(new Weights(), builder, x),
    trace: (builder, x) => build(new Weights(true), builder, x),
  };
}

/** One convolution with its norm and ReLU, on an image of its own. */
export function layer(
  side: number,
  inChannels: number,
  outChannels: number,
  kernel: number,
  stride = 1,
  groups = 1,
): Convnet {
  const outSide = Math.ceil(side / stride);
  const make = (w: Weights) => w.conv(outSide ** 2, inChannels, outChannels, kernel, stride, groups);
  const counted = new Weights(true);
  make(counted);
  const kind = groups > 1 ? 'depthwise ' : '';
  const step = stride > 1 ? `/${stride}` : '';
  const window = `${kind}${kernel}x${kernel}${step}`;
  const name = `${window} ${inChannels}→${outChannels} ${side}²`;
  return {
    name,
    ...(kind && { also: `${name}, ${window} ${inChannels} ${side}²` }),
    input: [inChannels, side, side],
    output: [outChannels, outSide, outSide],
    multiplyAdds: counted.multiplyAdds,
    build: (b, x) => b.activate(b.convNorm(x, make(new Weights())), 'relu'),
    trace: (b, x) => b.activate(b.convNorm(x, make(new Weights(true))), 'relu'),
  };
}

export const NETWORKS: readonly (() => Convnet)[] = [
  () => convnet('ResNet-18', resnet18),
  () => convnet('MobileNetV2', mobilenet2),
];

/** Every kind of layer of these networks, once. */
export function layersOf(networks: readonly Convnet[]): Convnet[] {
  const seen = new Map<string, Convnet>();
  for (const network of networks) {
    // a value is the side of the image
    const tracing: Builder<number> = {
      convNorm(side, { inChannels, outChannels, kernel, stride, groups }) {
        const one = layer(side, inChannels, outChannels, kernel, stride, groups);
        if (!seen.has(one.name)) seen.set(one.name, one);
        return Math.ceil(side / stride);
      },
      activate: (side) => side,
      add: (side) => side,
      maxPool: (side) => side / 2,
      classify: (side) => side,
    };
    network.trace(tracing, network.input[1]);
  }
  return [...seen.values()];
}

/** Images as a camera's, around 0. */
export function imagesFor({ input }: Pick<Convnet, 'input'>, batch: number): Float32Array {
  const random = new Random(13);
  const noise = Array.from({ length: 4099 }, () => random.normal());
  return Float32Array.from({ length: batch * input[0] * input[1] * input[2] }, (_, i) => noise[i % noise.length]);
}

/** Images `[N, C, H, W]` with channels last. */
export function channelsLast(x: Float32Array, [channels, height, width]: Convnet['input']): Float32Array {
  return turned(x, channels, height * width);
}

/** What a network makes of images, with channels last, as it is with channels first. */
export function channelsFirst(y: Float32Array, { output }: Convnet): Float32Array {
  return output ? turned(y, output[1] * output[2], output[0]) : y;
}

/** `[N, rows, cols]` as `[N, cols, rows]`. */
function turned(x: Float32Array, rows: number, cols: number): Float32Array {
  return x.map((_, i) => {
    const row = i % rows;
    const rest = (i - row) / rows;
    const n = Math.floor(rest / cols);
    return x[(n * rows + row) * cols + (rest - n * cols)];
  });
}

/** Weight and bias of a convolution that does what the norm behind it does. */
export function foldedNorm({ weight, gamma, beta, mean, variance }: ConvNorm, eps: number) {
  const scale = gamma.map((value, o) => value / Math.sqrt(variance[o] + eps));
  const each = weight.length / gamma.length;
  return {
    weight: weight.map((value, i) => value * scale[Math.floor(i / each)]),
    bias: beta.map((value, o) => value - mean[o] * scale[o]),
  };
}
