// A whole training step, the same for everyone: 64 images of 28 × 28, three convolutions of 3 × 3
// to 16, 32 and 64 channels, each with batch norm, ReLU and max pooling, a linear layer,
// cross-entropy, backward, and gradient descent.

import {
  ActivationLayer,
  BatchNorm2d,
  Conv2d,
  crossEntropy,
  Flatten,
  type Layout,
  Linear,
  MaxPool2d,
  Sequential,
  SGD,
  tensor,
} from '../../src/index.ts';
import { Random } from '../../src/nn/random.ts';
import { EPS } from '../workload.ts';
import type { Contender } from './peer.ts';

const BATCH = 64;
const SIDE = 28;
const CHANNELS = [1, 16, 32, 64] as const;
const CLASSES = 10;
/** Pixels that three poolings of 2 × 2 leave. */
const LEFT = 9;
/** Steps after which everyone's numbers are compared. */
const COMPARED = 3;

export interface TrainingStep {
  /** `[N, 1, 28, 28]`, one channel: the same numbers in either layout. */
  readonly images: Float32Array;
  readonly labels: Int32Array;
  /** Of each convolution `[out, in, 3, 3]`. */
  readonly convolutions: readonly { readonly weight: Float32Array; readonly shape: readonly number[] }[];
  /** `[10, 64 · 3 · 3]`, channels before pixels. */
  readonly linear: Float32Array;
  readonly batch: number;
  readonly side: number;
  readonly rate: number;
  readonly eps: number;
  readonly compared: number;
}

export function trainingStep(): TrainingStep {
  const random = new Random(7);
  const normal = (size: number, deviation: number) =>
    Float32Array.from({ length: size }, () => deviation * random.normal());
  const convolutions = CHANNELS.slice(1).map((out, i) => {
    const shape = [out, CHANNELS[i], 3, 3];
    return { shape, weight: normal(out * CHANNELS[i] * 9, Math.sqrt(2 / (9 * CHANNELS[i]))) };
  });
  const features = CHANNELS[3] * LEFT;
  return {
    images: normal(BATCH * SIDE * SIDE, 1),
    labels: Int32Array.from({ length: BATCH }, (_, i) => i % CLASSES),
    convolutions,
    linear: normal(CLASSES * features, Math.sqrt(1 / features)),
    batch: BATCH,
    side: SIDE,
    rate: 1e-3,
    eps: EPS,
    compared: COMPARED,
  };
}

/** Channels behind pixels, as a flattened image with channels last has them; the way back too. */
export function reorder(linear: Float32Array, to: Layout): Float32Array {
  const channels = CHANNELS[3];
  return linear.map((_, i) => {
    const [row, at] = [Math.floor(i / (channels * LEFT)), i % (channels * LEFT)];
    const from =
      to === 'channels-last'
        ? (at % channels) * LEFT + Math.floor(at / channels)
        : (at % LEFT) * channels + Math.floor(at / LEFT);
    return linear[row * channels * LEFT + from];
  });
}

/** What is compared: losses of the first steps, then the first convolution's weights. */
export function numbersOf(losses: readonly number[], weight: ArrayLike<number>): Float32Array {
  return Float32Array.of(...losses, ...Array.from(weight));
}

export function ownTraining(spec: TrainingStep, layout: Layout): Contender {
  const { images, labels, batch, side, rate, eps } = spec;
  const layers = spec.convolutions.flatMap(({ weight, shape: [out, inChannels] }) => {
    const conv = new Conv2d(inChannels, out, 3, { padding: 1, bias: false, layout });
    conv.weight.data.set(weight);
    const norm = new BatchNorm2d(out, { eps, layout });
    return [conv, norm, new ActivationLayer('relu'), new MaxPool2d(2, { layout })];
  });
  const linear = new Linear(CHANNELS[3] * LEFT, CLASSES);
  linear.weight.data.set(layout === 'channels-last' ? reorder(spec.linear, layout) : spec.linear);
  linear.bias!.data.fill(0);
  const net = new Sequential(...layers, new Flatten(), linear).train();
  const optimizer = new SGD(net.parameters(), { lr: rate });
  const x = tensor(images, layout === 'channels-last' ? [batch, side, side, 1] : [batch, 1, side, side]);
  const step = () => {
    const { loss, grad } = crossEntropy(net.forward(x), labels);
    optimizer.zeroGrad();
    net.backward(grad, { inputGradient: false });
    optimizer.step();
    return loss;
  };
  const losses = Array.from({ length: spec.compared }, step);
  const weight = (layers[0] as Conv2d).weight.data.slice();
  return {
    work: step,
    output: () => numbersOf(losses, weight),
    dispose: () => {
      x.dispose();
      net.dispose();
    },
  };
}
