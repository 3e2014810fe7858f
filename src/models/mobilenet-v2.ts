import { flag, number } from '../named-options.ts';
import { ReLU6 } from '../nn/activations.ts';
import { Dropout } from '../nn/dropout.ts';
import { Graph, type Value } from '../nn/graph.ts';
import { normal } from '../nn/initializers.ts';
import { Linear } from '../nn/linear.ts';
import {
  type Convnet,
  ConvnetBuilder,
  checkPlace,
  imagesOf,
  type NormPlace,
  normPlace,
  type ResidualOptions,
  readModel,
} from './convnet.ts';

/** Options of `mobilenetV2`. */
export interface MobileNetV2Options extends ResidualOptions {
  /**
   * Factor of the channels of each layer, which are rounded to multiples of 8, above 0. Default 1.
   */
  width?: number;
  /**
   * `'behind'`: norm and ReLU6 behind each convolution, as in the paper, default. `'before'`: in
   * each block both before it, but for the first, whose input has passed no ReLU6 on its way from
   * block to block and gets the norm alone (after He et al. 2016, arXiv 1603.05027); the first and
   * the last convolution of the network have theirs behind.
   */
  normPlace?: NormPlace;
  /** Probability of dropping a value before the last layer, 0 to 1. Default 0.2. */
  dropout?: number;
}

/**
 * Channels inside of a block over those of its input, channels of its output, blocks, stride of the
 * first.
 */
const STAGES: readonly (readonly [expansion: number, channels: number, blocks: number, stride: number])[] = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
];

/** The nearest multiple of 8, but never more than a tenth below the value: torchvision's rule. */
function rounded(channels: number): number {
  const nearest = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return nearest < 0.9 * channels ? nearest + 8 : nearest;
}

class MobileNetBuilder extends ConvnetBuilder {
  /** Convolution, norm and ReLU6, whose names have these endings. */
  step(name: string, x: Value, out: number, kernel: number, stride = 1, groups = 1): Value {
    const y = this.norm(`${name}.1`, this.conv(`${name}.0`, x, out, kernel, stride, groups));
    return this.apply(`${name}.2`, new ReLU6(), y);
  }

  /** Norm and, unless it is linear, ReLU6 before a convolution: the same names as behind it. */
  stepBefore(name: string, x: Value, out: number, kernel: number, isLinear: boolean, stride = 1, groups = 1): Value {
    const normed = this.norm(`${name}.1`, x);
    const y = isLinear ? normed : this.apply(`${name}.2`, new ReLU6(), normed);
    return this.conv(`${name}.0`, y, out, kernel, stride, groups);
  }

  /** An inverted residual block with its norms before its convolutions. */
  blockBefore(name: string, x: Value, expansion: number, out: number, stride: number): Value {
    const inner = this.channelsOf(x) * expansion;
    let at = 0;
    let y = x;
    if (expansion !== 1) y = this.stepBefore(`${name}.conv.${at++}`, y, inner, 1, true);
    y = this.stepBefore(`${name}.conv.${at}`, y, inner, 3, at === 0, stride, inner);
    at++;
    y = this.apply(`${name}.relu`, new ReLU6(), this.norm(`${name}.conv.${at + 1}`, y));
    y = this.conv(`${name}.conv.${at}`, y, out, 1);
    return stride === 1 && this.channelsOf(x) === out ? this.add(x, y) : y;
  }

  /**
   * An inverted residual block: wider, a convolution of each channel by itself, and narrow again.
   */
  block(name: string, x: Value, expansion: number, out: number, stride: number): Value {
    const inner = this.channelsOf(x) * expansion;
    let at = 0;
    let y = x;
    if (expansion !== 1) y = this.step(`${name}.conv.${at++}`, y, inner, 1);
    y = this.step(`${name}.conv.${at++}`, y, inner, 3, stride, inner);
    y = this.conv(`${name}.conv.${at++}`, y, out, 1);
    const isResidual = stride === 1 && this.channelsOf(x) === out;
    y = this.norm(`${name}.conv.${at}`, y, isResidual);
    return isResidual ? this.add(x, y) : y;
  }
}

/**
 * MobileNetV2 (Sandler et al. 2018) as torchvision's: x `[N, channels, H, W]` of any size, logits
 * `[N, classes]`. Names and shapes of the state are torchvision's, so its weights load by
 *
 *     net.loadStateDict(fromTorch(readSafetensors(bytes), { layer: net }).state);
 *
 * Initial weights are torchvision's: convolutions normal with variance 2/fanOut, the last layer
 * normal with standard deviation 0.01 and bias 0.
 *
 * @throws ERR_OPTION for an unknown option or a value that one does not take; ERR_MEMORY
 */
export function mobilenetV2(options: MobileNetV2Options = {}): Convnet {
  const subject = 'mobilenetV2';
  const own = {
    width: number(1, 'a finite number above 0', (value) => value > 0 && Number.isFinite(value)),
    dropout: number(0.2, 'a number from 0 to 1', (value) => value >= 0 && value <= 1),
    normPlace: normPlace(),
    zeroLastGamma: flag(false),
  };
  const model = readModel(subject, options, { classes: 1000, channels: 3 }, own);
  const { width, dropout, normPlace: place } = model.settings;
  checkPlace(subject, model, place);
  return new Graph(imagesOf(model), (g, { x }): Value => {
    const b = new MobileNetBuilder(subject, g, model);
    let y = b.step('features.0', x, rounded(32 * width), 3, 2);
    let at = 1;
    for (const [expansion, channels, blocks, stride] of STAGES) {
      for (let i = 0; i < blocks; i++) {
        const block = place === 'behind' ? 'block' : 'blockBefore';
        y = b[block](`features.${at++}`, y, expansion, rounded(channels * width), i ? 1 : stride);
      }
    }
    y = b.average(b.step(`features.${at}`, y, rounded(1280 * Math.max(1, width)), 1));
    y = b.apply('classifier.0', new Dropout(dropout, { seed: b.seed() }), y);
    const last = new Linear(y.shape[1]!, model.classes, { init: normal(0.01), seed: b.seed() });
    return b.apply('classifier.1', last, y);
  });
}
