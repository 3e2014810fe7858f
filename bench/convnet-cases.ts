// Cases of convolutions: every kind of layer of ResNet-18 and MobileNetV2 by itself, with norm and
// ReLU, compiled, channels last; and whole networks.

import { type Tensor, tensor, zeros } from '../src/index.ts';
import type { CaseGroup, CaseWork } from './cases.ts';
import { type Convnet, channelsFirst, channelsLast, imagesFor, layersOf, NETWORKS } from './convnets.ts';
import { ownConvnet } from './own-convnet.ts';
import { measurePeak } from './peak.ts';
import { plainConvnet } from './plain-networks.ts';
import { relativeDifference } from './workload.ts';

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

/** Single layers: a convolution with its norm and ReLU, channels last, one image. */
export function convLayerCases(): CaseGroup[] {
  return layersOf(NETWORKS.map((make) => make())).map((net) => ({
    names: [{ op: 'conv', layout: 'nxc', shape: net.name, also: `convolution, channels last, ${net.also ?? ''}` }],
    make() {
      const { given, ty, work, dispose } = compiled(net, 'channels-last', 1);
      const plain = plainConvnet(net, given);
      const timed: CaseWork = {
        bytes: 4 * (given.length + plain.y.length),
        flops: 2 * net.multiplyAdds,
        ours: work,
        plain: plain.work,
        peak: measurePeak,
        difference: () => relativeDifference(ty.data, plain.y),
      };
      return { works: { conv: timed }, dispose };
    },
  }));
}

export function convnetCases(): CaseGroup[] {
  return NETWORKS.flatMap((network) =>
    (['channels-first', 'channels-last'] as const).map((layout) => {
      const net = network();
      return {
        names: [
          {
            op: 'compiled',
            layout: layout === 'channels-last' ? 'nxc' : 'ncx',
            shape: `${net.name} 224², batch 1`,
            also: layout.replace('-', ' '),
          },
        ],
        make() {
          const { own, given, shape, ty, work, dispose } = compiled(net, layout, 1);
          const x = { data: given, shape };
          const plain = plainConvnet(net, channelsLast(imagesFor(net, 1), net.input));
          const timed: CaseWork = {
            bytes: 4 * (given.length + ty.size),
            flops: 2 * net.multiplyAdds,
            ours: work,
            plain: plain.work,
            layers: () => own.forward(x),
            peak: measurePeak,
            difference: () => relativeDifference(ty.data, plain.y),
          };
          return { works: { compiled: timed }, dispose };
        },
      };
    }),
  );
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
