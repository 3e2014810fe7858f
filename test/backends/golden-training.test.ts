// 60 steps of small convolutional networks against PyTorch's in float64 (test/fixtures/golden-conv,
// endtoend): losses, the first gradients, parameters and running statistics after 1, 10 and 60
// steps, logits in evaluation, and compiled.

import { expect, test } from 'vitest';
import {
  Adam,
  AdamW,
  BatchNorm2d,
  Conv2d,
  crossEntropy,
  Flatten,
  GlobalAvgPool,
  Graph,
  type Layer,
  Linear,
  MaxPool2d,
  namedParameters,
  type Optimizer,
  ReLU,
  SGD,
  tensor,
  type Value,
} from '../../src/index.ts';
import { fromTorch } from '../../src/weights/index.ts';
import { convolutionalCases, errorRatio, type GoldenCase, plain } from '../support/golden.ts';

const cases = convolutionalCases('train_cnn');

// biome-ignore lint/suspicious/noExplicitAny: differs from node to node
type Node = { name: string; op: string; inputs: string[] } & Record<string, any>;

function layerOf(node: Node): Layer {
  const { stride, padding, kernelSize } = node;
  if (node.op === 'conv') {
    const { inChannels, outChannels, dilation, groups, bias } = node;
    return new Conv2d(inChannels, outChannels, kernelSize, { stride, padding, dilation, groups, bias });
  }
  if (node.op === 'batch_norm') {
    const { numFeatures, eps, momentum } = node;
    return new BatchNorm2d(numFeatures, { eps, momentum });
  }
  if (node.op === 'relu') return new ReLU();
  if (node.op === 'max_pool') return new MaxPool2d(kernelSize, { stride, padding });
  if (node.op === 'global_avg_pool') return new GlobalAvgPool();
  if (node.op === 'flatten') return new Flatten();
  if (node.op === 'linear') return new Linear(node.inFeatures, node.outFeatures);
  throw new Error(`the test knows no ${node.op}`);
}

function netOf({ attributes, tensors }: GoldenCase) {
  const [, ...image] = tensors.X.shape;
  return new Graph({ x: image }, (g, { x }) => {
    const values: Record<string, Value> = { x };
    for (const node of attributes.graph as Node[]) {
      const given = node.inputs.map((name) => values[name]);
      values[node.name] = node.op === 'add' ? g.add(given[0], given[1]) : g.apply(node.name, layerOf(node), given[0]);
    }
    return values[attributes.graph.at(-1).name];
  });
}

function optimizerOf({ attributes }: GoldenCase, net: Graph): Optimizer {
  const { optimizer, lr, sgdMomentum: momentum, weightDecay, betas, optimizerEps: eps } = attributes;
  const parameters = namedParameters(net);
  if (optimizer === 'SGD') return new SGD(parameters, { lr, momentum, weightDecay });
  return new (optimizer === 'AdamW' ? AdamW : Adam)(parameters, { lr, betas, eps, weightDecay });
}

/** Tensors of a case under a prefix, by our names. */
function stateUnder({ tensors }: GoldenCase, prefix: string) {
  const found = Object.entries(tensors).filter(([name]) => name.startsWith(prefix));
  return fromTorch(Object.fromEntries(found.map(([name, t]) => [name.slice(prefix.length), plain(t)]))).state;
}

/** The name of a tensor in a case, and ours. */
function namesUnder({ tensors, attributes }: GoldenCase, prefix: string): [theirs: string, ours: string][] {
  const norms = new Set(attributes.graph.filter(({ op }: Node) => op === 'batch_norm').map(({ name }: Node) => name));
  const words: Record<string, string> = {
    weight: 'gamma',
    bias: 'beta',
    running_mean: 'runningMean',
    running_var: 'runningVar',
  };
  return Object.keys(tensors)
    .filter((name) => name.startsWith(prefix))
    .map((name) => {
      const at = name.lastIndexOf('.');
      const [layer, leaf] = [name.slice(prefix.length, at), name.slice(at + 1)];
      return [name, `${layer}.${norms.has(layer) ? words[leaf] : leaf}`];
    });
}

test('SGD, Adam and AdamW', () => {
  expect(cases.map(({ attributes }) => attributes.optimizer)).toEqual(['SGD', 'Adam', 'SGD', 'AdamW']);
});

test.each(cases.flatMap((c) => (['array', 'tensor'] as const).map((kind) => [c.id, kind, c] as const)))(
  '%s, %ss',
  (_, kind, c) => {
    const { tensors, attributes } = c;
    const net = netOf(c);
    net.loadStateDict({ ...net.stateDict(), ...stateUnder(c, 'init.') });
    const optimizer = optimizerOf(c, net);
    const { data: images, shape } = plain(tensors.X);
    const size = images.length / shape[0];
    const { steps, batch } = attributes;
    const ratios: Record<string, number> = {};
    const losses = new Float64Array(steps);
    for (let k = 0; k < steps; k++) {
      const rows = tensors.order.data.subarray(k * batch, (k + 1) * batch);
      const x = { data: new Float32Array(batch * size), shape: [batch, ...shape.slice(1)] };
      rows.forEach((row, i) => {
        x.data.set(images.subarray(row * size, (row + 1) * size), i * size);
      });
      const given = kind === 'tensor' ? tensor(x.data, x.shape) : x;
      const labels = Array.from(rows, (row) => tensors.labels.data[row]);
      const { loss, grad } = crossEntropy(net.forward(given), labels);
      losses[k] = loss;
      optimizer.zeroGrad();
      net.backward(grad, { inputGradient: false });
      if (k === 0) {
        const named = new Map(namedParameters(net));
        for (const [theirs, ours] of namesUnder(c, 'grad1.'))
          ratios[theirs] = errorRatio(tensors[theirs], named.get(ours)!.grad, 'tol');
      }
      optimizer.step();
      if ('dispose' in given) given.dispose();
      const after = namesUnder(c, `after${k + 1}.`);
      const state = after.length ? net.stateDict() : {};
      for (const [theirs, ours] of after) ratios[theirs] = errorRatio(tensors[theirs], state[ours].data, 'tol');
    }
    ratios.loss = errorRatio(tensors.loss, losses, 'tol');
    net.eval();
    const x = plain(tensors.eval_x);
    ratios.eval = errorRatio(tensors.eval_logits, net.forward(x).data, 'tol');
    const run = net.compile();
    ratios.compiled = errorRatio(tensors.eval_logits, run(x).data, 'tol');
    run.dispose();
    expect(Object.keys(ratios).length).toBeGreaterThan(40);
    expect(Object.entries(ratios).filter(([, ratio]) => !(ratio <= 1))).toEqual([]);
  },
);
