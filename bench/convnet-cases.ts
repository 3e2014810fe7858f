// Cases of convolutions: every kind of layer of ResNet-18 and MobileNetV2 by itself, with norm and
// ReLU, compiled, channels last; and whole networks.

import { type Tensor, tensor, zeros } from '../src/index.ts';
import type { BenchCase } from './cases.ts';
import {
  type Builder,
  type Convnet,
  channelsFirst,
  channelsLast,
  foldedNorm,
  imagesFor,
  layersOf,
  NETWORKS,
} from './convnets.ts';
import { ownConvnet } from './own-convnet.ts';
import { measurePeak } from './peak.ts';
import { EPS, relativeDifference } from './workload.ts';

/** A compiled network on tensors of its own. */
function compiled(net: Convnet, layout: 'channels-last' | 'channels-first', batch: number) {
  const own = ownConvnet(net, layout);
  const images = imagesFor(net, batch);
  const [channels, height, width] = net.input;
  const isLast = layout === 'channels-last';
  const shape = isLast ? [batch, height, width, channels] : [batch, channels, height, width];
  const given = isLast ? channelsLast(images, net.input) : images;
  const run = own.compile();
  const tx = tensor(given, shape);
  const ty: Tensor = zeros(own.outputShape(shape));
  const held = [tx, ty, run, own];
  return {
    own,
    given,
    shape,
    ty,
    work: () => run(tx, { out: ty }),
    dispose: () => {
      for (const one of held) one.dispose();
    },
  };
}

/** The convolution, the norm folded, and ReLU in plain loops: channels last, one image. */
function plainLayer(net: Convnet, x: Float32Array, y: Float32Array): () => void {
  let work = () => {};
  const builder: Builder<null> = {
    convNorm(_, conv) {
      const { inChannels, outChannels, kernel, stride, padding, groups } = conv;
      const { weight, bias } = foldedNorm(conv, EPS);
      const [, height, width] = net.input;
      const [own, whole] = [inChannels / groups, outChannels / groups];
      // [out, k, k, in]
      const w = weight.map((_, i) => {
        const [tap, c] = [Math.floor(i / own) % (kernel * kernel), i % own];
        return weight[(Math.floor(i / (own * kernel * kernel)) * own + c) * kernel * kernel + tap];
      });
      work = () => {
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
              y[at++] = Math.max(0, sum);
            }
          }
        }
      };
      return null;
    },
    activate: () => null,
    add: () => null,
    maxPool: () => null,
    classify: () => null,
  };
  net.build(builder, null);
  return work;
}

export function* convLayerCases(): Generator<BenchCase> {
  for (const net of layersOf(NETWORKS.map((make) => make()))) {
    const { given, ty, work, dispose } = compiled(net, 'channels-last', 1);
    const y = new Float32Array(ty.size);
    yield {
      op: 'conv',
      layout: 'nxc',
      shape: net.name,
      bytes: 4 * (given.length + y.length),
      flops: 2 * net.multiplyAdds,
      ours: work,
      plain: plainLayer(net, given, y),
      peak: measurePeak,
      difference: () => relativeDifference(ty.data, y),
      dispose,
    };
  }
}

export function* convnetCases(): Generator<BenchCase> {
  for (const make of NETWORKS) {
    for (const layout of ['channels-first', 'channels-last'] as const) {
      const net = make();
      const { own, given, shape, ty, work, dispose } = compiled(net, layout, 1);
      const x = { data: given, shape };
      yield {
        op: 'compiled',
        layout: layout === 'channels-last' ? 'nxc' : 'ncx',
        shape: `${net.name} 224², batch 1`,
        bytes: 4 * (given.length + ty.size),
        flops: 2 * net.multiplyAdds,
        ours: work,
        plain: () => own.forward(x), // the network itself, layer by layer
        peak: measurePeak,
        difference: () => relativeDifference(ty.data, (own.forward(x) as unknown as { data: Float32Array }).data),
        dispose,
      };
    }
  }
}

/**
 * For comparisons with others: whole networks take images with channels first, single layers what
 * they are made for.
 */
export function convnetContender(net: Convnet, batch: number) {
  const { work, ty, dispose } = compiled(net, net.output ? 'channels-last' : 'channels-first', batch);
  return {
    work,
    output: () => {
      work();
      return channelsFirst(ty.data, net);
    },
    dispose,
  };
}
