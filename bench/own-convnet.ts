// Networks of convolutions as ours.

import {
  ActivationLayer,
  BatchNorm2d,
  Conv2d,
  Flatten,
  GlobalAvgPool,
  Graph,
  type GraphBuilder,
  type Layout,
  Linear,
  MaxPool2d,
  type Value,
} from '../src/index.ts';
import type { Builder, ConvNorm, Convnet } from './convnets.ts';
import { EPS } from './workload.ts';

/** The layers of a convolution and its norm, with their weights. */
function layersOf(conv: ConvNorm, layout: Layout) {
  const { inChannels, outChannels, kernel, stride, padding, groups, weight, gamma, beta, mean, variance } = conv;
  const options = { stride, padding, groups, bias: false, layout };
  const product = new Conv2d(inChannels, outChannels, kernel, options);
  product.weight.data.set(weight);
  const norm = new BatchNorm2d(outChannels, { eps: EPS, layout });
  const state = norm.stateDict();
  const vectors = { gamma, beta, runningMean: mean, runningVar: variance };
  for (const [name, data] of Object.entries(vectors)) state[name] = { ...state[name], data };
  norm.loadStateDict(state);
  return [product, norm] as const;
}

export function ownConvnet(net: Convnet, layout: Layout): Graph {
  const [channels, height, width] = net.input;
  const shape = layout === 'channels-last' ? [height, width, channels] : [channels, height, width];
  return new Graph({ x: shape }, (g: GraphBuilder, { x }: { x: Value }) => {
    let count = 0;
    const name = (kind: string) => `${kind}${count++}`;
    const builder: Builder<Value> = {
      convNorm(x, conv) {
        const [product, norm] = layersOf(conv, layout);
        return g.apply(`${conv.name}.norm`, norm, g.apply(conv.name, product, x));
      },
      activate: (x, activation) => g.apply(name(activation), new ActivationLayer(activation), x),
      add: (a, b) => g.add(a, b),
      maxPool: (x) => g.apply(name('pool'), new MaxPool2d(3, { stride: 2, padding: 1, layout }), x),
      classify(x, { inFeatures, outFeatures, weight, bias }) {
        const linear = new Linear(inFeatures, outFeatures);
        linear.weight.data.set(weight);
        linear.bias!.data.set(bias);
        const pooled = g.apply('average', new GlobalAvgPool({ layout }), x);
        return g.apply('fc', linear, g.apply('flatten', new Flatten(), pooled));
      },
    };
    return net.build(builder, x);
  }).eval();
}
