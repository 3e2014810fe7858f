// Convolutions against reference data made with PyTorch, whose README (test/fixtures/golden-conv)
// says what tolerances mean.

import { describe, expect, test } from 'vitest';
import {
  ActivationLayer,
  type ActivationName,
  BatchNorm,
  Conv1d,
  Conv2d,
  Conv3d,
  type ConvPadding,
  ConvTranspose1d,
  ConvTranspose2d,
  GlobalAvgPool,
  Graph,
  type Layer,
  type Layout,
  MaxPool2d,
  tensor,
  Upsample,
  type Value,
} from '../../src/index.ts';
import { load } from '../../src/infer/load.ts';
import { convolutions, merging, reshaping } from '../../src/infer/operations.ts';
import { convolutionalCases, errorRatio, type GoldenCase, type GoldenTensor, plain } from '../support/golden.ts';

const KINDS = { Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d };

/** As options take it: PyTorch's own, or what it was explicitly. */
const paddingOf = (given: ConvPadding | null, pads: number[]): ConvPadding =>
  given ?? Array.from({ length: pads.length / 2 }, (_, a) => [pads[a], pads[a + pads.length / 2]] as const);

function layerOf(attributes: Record<string, never>) {
  const { conv, inChannels, outChannels, kernelSize, stride, padding, pads, dilation } = attributes;
  const { outputPadding, groups, bias, layout } = attributes;
  const name = (layout as string).replace('_', '-') as Layout;
  const options = { stride, dilation, groups, bias, layout: name };
  const Kind = KINDS[conv as keyof typeof KINDS] as typeof Conv2d;
  const own = outputPadding === undefined ? { padding: paddingOf(padding, pads) } : { padding, outputPadding };
  return new Kind(inChannels, outChannels, kernelSize, { ...options, ...own });
}

const cases = convolutionalCases('conv', 'conv_transpose');

describe('convolutions in PyTorch', () => {
  test('there are as many cases as the index says', () => {
    expect(cases.length).toBe(77);
  });

  test.each(cases.map((c) => [c.id, c] as const))('%s', (_, { attributes, tensors }) => {
    for (const kind of ['array', 'tensor'] as const) {
      const layer = layerOf(attributes);
      const { x, weight, bias, dy } = tensors;
      layer.loadStateDict({ weight: plain(weight), ...(bias && { bias: plain(bias) }) });
      const given = (t: GoldenTensor) => (kind === 'array' ? plain(t) : tensor(plain(t).data, t.shape));
      const before = plain(x).data;
      const from = given(x);
      const y = layer.forward(from as never) as { data: Float32Array; shape: number[] };
      expect(layer.outputShape(x.shape)).toEqual(tensors.y.shape);
      expect(y.shape).toEqual(tensors.y.shape);
      const ratios: Record<string, number> = { y: errorRatio(tensors.y, y.data, 'tol') };
      if (dy) {
        const dx = layer.backward(given(dy) as never) as { data: Float32Array; shape: number[] };
        expect(dx.shape).toEqual(x.shape);
        ratios.dx = errorRatio(tensors.dx, dx.data, 'tol');
        ratios.dweight = errorRatio(tensors.dweight, layer.weight.grad, 'tol');
        if (tensors.dbias) ratios.dbias = errorRatio(tensors.dbias, layer.bias!.grad, 'tol');
      }
      expect(from.data).toEqual(before);
      expect(Object.entries(ratios).filter(([, ratio]) => !(ratio <= 1))).toEqual([]);
    }
  });
});

const ACTIVATIONS: Record<string, ActivationName> = {
  relu: 'relu',
  relu6: 'relu6',
  silu: 'silu',
  sigmoid: 'sigmoid',
  hardswish: 'hard-swish',
  hardsigmoid: 'hard-sigmoid',
};

/** A layer of one node, but for sums, products and concatenations. */
function nodeLayer(node: BlockNode, layout: string, dims: number | undefined): Layer {
  const { op, kernelSize, stride, padding } = node;
  const name = layout.replace('_', '-') as Layout;
  if (op.startsWith('conv')) {
    const kind = `Conv${op === 'conv_transpose' ? 'Transpose' : ''}${dims ?? kernelSize.length}d`;
    return layerOf({ ...node, conv: kind, layout } as never) as unknown as Layer;
  }
  if (op === 'batch_norm') {
    return new BatchNorm(node.numFeatures, { eps: node.eps, momentum: node.momentum, layout: name });
  }
  if (op === 'max_pool') return new MaxPool2d(kernelSize, { stride, padding, layout: name });
  if (op === 'global_avg_pool') return new GlobalAvgPool({ layout: name });
  if (op === 'upsample') return new Upsample({ scale: node.scale, mode: 'nearest', layout: name });
  return new ActivationLayer(ACTIVATIONS[op]);
}

// biome-ignore lint/suspicious/noExplicitAny: differs from node to node
type BlockNode = { name: string; op: string; inputs: string[] } & Record<string, any>;

function blockOf({ attributes }: GoldenCase) {
  const { graph, layout, logicalShapes, dims }: BlockNode = attributes;
  const last = layout === 'channels_last';
  const ports = Object.entries<number[]>(logicalShapes).map(([name, [, c, ...lengths]]) => [
    name,
    last ? [...lengths, c] : [c, ...lengths],
  ]);
  return new Graph(Object.fromEntries(ports) as Record<string, number[]>, (g, inputs) => {
    const values: Record<string, Value> = { ...inputs };
    for (const node of graph as BlockNode[]) {
      const { name, op, inputs: from } = node;
      const given = from.map((input) => values[input]);
      if (op === 'add') values[name] = g.add(given[0], given[1]);
      else if (op === 'mul') values[name] = g.multiply(given[0], given[1]);
      else if (op === 'concat') values[name] = g.concat(given, last ? -1 : 1);
      else values[name] = g.apply(name, nodeLayer(node, layout, dims), given[0]);
    }
    return values[graph.at(-1)!.name];
  });
}

/** PyTorch's names of a norm's state, as ours. */
const OURS: Record<string, string> = { running_mean: 'runningMean', running_var: 'runningVar' };

const blocks = convolutionalCases('conv_block');

describe('blocks of convolutions, norms and activations', () => {
  test('there are as many as the index says', () => {
    expect(blocks.length).toBe(18);
  });

  test.each(blocks.map((c) => [c.id, c] as const))('%s', (_, c) => {
    const { tensors, attributes } = c;
    const norms = new Set(
      attributes.graph.filter(({ op }: BlockNode) => op === 'batch_norm').map(({ name }: BlockNode) => name),
    );
    /** The layer and the parameter of a tensor. */
    const ownName = (name: string) => {
      const at = name.lastIndexOf('.');
      const [layer, own] = [name.slice(0, at), name.slice(at + 1)];
      const ours = norms.has(layer) ? (OURS[own] ?? { weight: 'gamma', bias: 'beta' }[own]) : own;
      return `${layer}.${ours}`;
    };
    for (const kind of ['array', 'tensor'] as const) {
      const net = blockOf(c);
      const state = net.stateDict();
      for (const [name, t] of Object.entries(tensors)) {
        if (t.role === 'input' && name.includes('.')) state[ownName(name)].data.set(plain(t).data);
      }
      net.loadStateDict(state);
      const given = (t: GoldenTensor) => (kind === 'array' ? plain(t) : tensor(plain(t).data, t.shape));
      const ports = tensors.skip ? ['x', 'skip'] : ['x'];
      const inputs = () =>
        (ports.length > 1
          ? Object.fromEntries(ports.map((name) => [name, given(tensors[name])]))
          : given(tensors.x)) as never;
      const ratios: Record<string, number> = {};
      const pass = (suffix: string) => {
        net.zeroGrad();
        const y = net.forward(inputs()) as unknown as { data: Float32Array };
        ratios[`y${suffix}`] = errorRatio(tensors[`y${suffix}`], y.data, 'tol');
        const dx = net.backward(given(tensors.dy) as never) as unknown as Record<string, { data: Float32Array }>;
        for (const name of ports) {
          const of = ports.length > 1 ? dx[name].data : (dx as unknown as { data: Float32Array }).data;
          ratios[`d${name}${suffix}`] = errorRatio(tensors[`d${name}${suffix}`], of, 'tol');
        }
        const named = net.named().flatMap(([prefix, layer]) =>
          Object.keys(layer.stateSlots())
            .filter((own) => /^(weight|bias|gamma|beta)$/.test(own))
            .map((own) => [`${prefix}.${own}`, layer[own as never] as { grad: Float32Array }] as const),
        );
        for (const [name, t] of Object.entries(tensors)) {
          if (!name.startsWith(`grad${suffix}.`)) continue;
          const ours = ownName(name.slice(`grad${suffix}.`.length));
          const [, parameter] = named.find(([own]) => own === ours)!;
          ratios[name] = errorRatio(t, parameter.grad, 'tol');
        }
      };
      pass('');
      const after = net.stateDict();
      for (const [name, t] of Object.entries(tensors)) {
        if (name.startsWith('after.')) ratios[name] = errorRatio(t, after[ownName(name.slice(6))].data, 'tol');
      }
      net.loadStateDict(state);
      net.eval();
      pass('_eval');
      const run = net.compile();
      const y = run(inputs()) as unknown as { data: Float32Array };
      ratios.compiled = errorRatio(tensors.y_eval, y.data, 'tol');
      const loaded = load(run.save(), { operations: [convolutions, merging, reshaping] });
      expect((loaded(inputs()) as unknown as { data: Float32Array }).data).toEqual(y.data);
      loaded.dispose();
      run.dispose();
      expect(Object.keys(ratios).length).toBeGreaterThan(5);
      expect(Object.entries(ratios).filter(([, ratio]) => !(ratio <= 1))).toEqual([]);
    }
  });
});
