import { show, wrongValue } from '../errors.ts';
import { flag, integer } from '../named-options.ts';
import { ReLU } from '../nn/activations.ts';
import { Graph, type Value } from '../nn/graph.ts';
import { Linear } from '../nn/linear.ts';
import { MaxPool2d } from '../nn/pool.ts';
import {
  type Convnet,
  ConvnetBuilder,
  checkPlace,
  imagesOf,
  type ModelDefaults,
  type NormPlace,
  normPlace,
  type ReadModel,
  type ResidualOptions,
  readModel,
} from './convnet.ts';

/** Options of `resnet` and `digitResnet`. */
export interface ResNetOptions extends ResidualOptions {
  /**
   * Channels of the stem; the stages have 1, 2, 4 and 8 times as many. Default 64; of `digitResnet`
   * 16.
   */
  width?: number;
  /**
   * `'behind'`: norm and ReLU behind each convolution (He et al. 2015, arXiv 1512.03385), default.
   * `'before'`: both before it, nothing but the addition on the way from block to block, and a last
   * norm, `norm`, behind the last block (He et al. 2016, arXiv 1603.05027).
   */
  normPlace?: NormPlace;
}

/** Blocks of each stage, and whether they are bottlenecks. */
const RESNETS: Readonly<Record<number, { readonly stages: readonly number[]; readonly isBottleneck: boolean }>> = {
  18: { stages: [2, 2, 2, 2], isBottleneck: false },
  34: { stages: [3, 4, 6, 3], isBottleneck: false },
  50: { stages: [3, 4, 6, 3], isBottleneck: true },
};

/** A bottleneck's output has so many times the channels of its inner convolutions. */
const EXPANSION = 4;

interface ReadResNet extends ReadModel {
  readonly width: number;
  readonly place: NormPlace;
}

function readResNet(
  subject: string,
  options: ResNetOptions,
  defaults: ModelDefaults & { readonly width: number },
): ReadResNet {
  const own = { width: integer(1, defaults.width), normPlace: normPlace(), zeroLastGamma: flag(false) };
  const model = readModel(subject, options, defaults, own);
  const { width, normPlace: place } = model.settings;
  checkPlace(subject, model, place);
  return { ...model, width, place };
}

/** Convolutions of a block, in order: channels, kernel, stride. */
type Convolutions = readonly (readonly [out: number, kernel: number, stride: number])[];

/** Builds blocks. */
class ResNetBuilder extends ConvnetBuilder {
  /**
   * A block: its convolutions, and the way around them, which has a convolution where shapes
   * differ.
   */
  block(name: string, x: Value, place: NormPlace, convolutions: Convolutions, stride: number): Value {
    const last = convolutions.length;
    const out = convolutions[last - 1][0];
    const hasOwnWay = stride > 1 || this.channelsOf(x) !== out;
    let y = x;
    let way = x;
    convolutions.forEach(([channels, kernel, own], i) => {
      if (place === 'before') {
        y = this.normAndRelu(name, i + 1, y);
        // the convolution around the block sees what the block sees
        if (i === 0 && hasOwnWay) way = y;
      }
      y = this.conv(`${name}.conv${i + 1}`, y, channels, kernel, own);
      if (place === 'before') return;
      if (i + 1 < last) y = this.normAndRelu(name, i + 1, y);
      else y = this.norm(`${name}.bn${last}`, y, true);
    });
    if (hasOwnWay) {
      way = this.conv(`${name}.downsample.0`, way, out, 1, stride);
      if (place === 'behind') way = this.norm(`${name}.downsample.1`, way);
    }
    const sum = this.add(y, way);
    return place === 'behind' ? this.apply(`${name}.relu${last}`, new ReLU(), sum) : sum;
  }

  normAndRelu(name: string, at: number, x: Value): Value {
    return this.apply(`${name}.relu${at}`, new ReLU(), this.norm(`${name}.bn${at}`, x));
  }

  stage(
    name: string,
    x: Value,
    { place }: ReadResNet,
    { width, blocks, stride, isBottleneck }: { width: number; blocks: number; stride: number; isBottleneck: boolean },
  ): Value {
    let y = x;
    for (let i = 0; i < blocks; i++) {
      const own = i === 0 ? stride : 1;
      const convolutions: Convolutions = isBottleneck
        ? [
            [width, 1, 1],
            [width, 3, own],
            [width * EXPANSION, 1, 1],
          ]
        : [
            [width, 3, own],
            [width, 3, 1],
          ];
      y = this.block(`${name}.${i}`, y, place, convolutions, own);
    }
    return y;
  }

  /**
   * Behind the last block: norm and ReLU where no block ends with them, the average of each
   * channel, and the classes.
   */
  head(x: Value, { place, classes }: ReadResNet): Value {
    const y = place === 'before' ? this.apply('norm.relu', new ReLU(), this.norm('norm', x)) : x;
    return this.apply('fc', new Linear(this.channelsOf(y), classes, { seed: this.seed() }), this.average(y));
  }
}

/**
 * ResNet (He et al. 2015) with 18, 34 or 50 layers, as torchvision's: x `[N, channels, H, W]` of
 * any size, logits `[N, classes]`. The stride of a bottleneck lies in its 3×3 convolution. Names
 * and shapes of the state are torchvision's, so its weights load by
 *
 *     net.loadStateDict(fromTorch(readSafetensors(bytes), { layer: net }).state);
 *
 * Initial weights are torchvision's: convolutions normal with variance 2/fanOut, gammas 1, betas 0,
 * the last layer PyTorch's default.
 *
 * @param depth 18, 34 or 50
 * @throws ERR_OPTION for another depth, an unknown option or a value that one does not take,
 *   `zeroLastGamma` with norms before convolutions, without norms or of norms without gamma;
 *   ERR_MEMORY
 */
export function resnet(depth: 18 | 34 | 50, options: ResNetOptions = {}): Convnet {
  if (!Object.hasOwn(RESNETS, depth)) throw wrongValue('ERR_OPTION', 'resnet', 'depth', '18, 34 or 50', show(depth));
  const subject = `resnet(${depth})`;
  const model = readResNet(subject, options, { classes: 1000, channels: 3, width: 64 });
  const { stages, isBottleneck } = RESNETS[depth];
  return new Graph(imagesOf(model), (g, { x }): Value => {
    const b = new ResNetBuilder(subject, g, model);
    const stem = b.apply('relu', new ReLU(), b.norm('bn1', b.conv('conv1', x, model.width, 7, 2)));
    const { layout, width } = model;
    let y = b.apply('maxpool', new MaxPool2d(3, { stride: 2, padding: 1, layout }), stem);
    stages.forEach((blocks, i) => {
      y = b.stage(`layer${i + 1}`, y, model, { width: width * 2 ** i, blocks, stride: i ? 2 : 1, isBottleneck });
    });
    return b.head(y, model);
  });
}

/**
 * The ResNet of small images (He et al. 2015, section 4.2): a 3×3 convolution, three stages of
 * (depth − 2)/6 blocks of two 3×3 convolutions with 1, 2 and 4 times `width` channels, the average
 * of each channel, and a linear layer. x `[N, channels, H, W]`, logits `[N, classes]`; by default
 * of one channel and ten classes, as digits are.
 *
 *     digitResnet(8, { seed: 1 }).outputShape([8, 1, 28, 28]);   // [8, 10]
 *
 * @param depth 8, 14, 20, …: 6·n + 2 layers
 * @param options.width channels of the first stage. Default 16
 * @throws as `resnet`
 */
export function digitResnet(depth: number, options: ResNetOptions = {}): Convnet {
  if (!Number.isSafeInteger(depth) || depth < 8 || depth % 6 !== 2) {
    throw wrongValue('ERR_OPTION', 'digitResnet', 'depth', '6·n + 2 from 8 on', show(depth));
  }
  const subject = `digitResnet(${depth})`;
  const model = readResNet(subject, options, { classes: 10, channels: 1, width: 16 });
  return new Graph(imagesOf(model), (g, { x }): Value => {
    const b = new ResNetBuilder(subject, g, model);
    const { width } = model;
    let y = b.apply('relu', new ReLU(), b.norm('bn1', b.conv('conv1', x, width, 3)));
    for (let i = 0; i < 3; i++) {
      const stage = { width: width * 2 ** i, blocks: (depth - 2) / 6, stride: i ? 2 : 1, isBottleneck: false };
      y = b.stage(`layer${i + 1}`, y, model, stage);
    }
    return b.head(y, model);
  });
}
