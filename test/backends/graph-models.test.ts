// Graph models of TF.js: names, what is said of them, and what TF.js itself does not run.

import { expect, test } from 'vitest';
import { loadNetwork } from '../../src/weights/index.ts';
import { formsOf, type Plain } from '../support/networks.ts';
import { type GraphText, graphModel, tfFloats, tfInt, tfInts, tfNode, tfShape } from '../support/tfjs-models.ts';

const x = (...shape: number[]): Plain => {
  const size = shape.reduce((product, length) => product * length, 1);
  return { data: Float32Array.from({ length: size }, (_, i) => Math.cos(2 * i)), shape };
};

const conv = { strides: [1, 2, 2, 1], padding: 'SAME', data_format: 'NHWC' };

/** conv → batch norm → relu6 → average → product. */
const small = (
  signature?: object,
  shape: readonly (number | null)[] | undefined = [null, null, null, 2],
): GraphText => ({
  inputs: { image: shape },
  constants: {
    kernel: tfFloats([3, 3, 2, 3]),
    gamma: tfFloats([3], [1, 2, 3]),
    beta: tfFloats([3]),
    mean: tfFloats([3]),
    variance: tfFloats([3], [1, 2, 0.5]),
    axes: tfInts(1, 2),
    weight: tfFloats([3, 4]),
    bias: tfFloats([4]),
    idle: tfFloats([2]),
  },
  nodes: [
    tfNode('Conv2D', 'image kernel', 'net/conv', conv),
    tfNode('FusedBatchNormV3', 'net/conv gamma beta mean variance', 'net/bn', {
      epsilon: { f: 0.25 },
      is_training: false,
    }),
    tfNode('Relu6', 'net/bn', 'net/relu'),
    tfNode('Mean', 'net/relu axes', 'net/mean', { keep_dims: false }),
    tfNode('MatMul', 'net/mean weight', 'net/fc'),
    tfNode('BiasAdd', 'net/fc bias', 'logits'),
    tfNode('Relu', 'net/conv', 'nobody'),
  ],
  ...(signature && { signature }),
});

const named = {
  inputs: { pixels: { name: 'image:0', dtype: 'DT_FLOAT', tensorShape: tfShape([null, null, null, 2]) } },
  outputs: { classes: { name: 'logits:0', dtype: 'DT_FLOAT' } },
};

function expectSame(a: Plain, b: Plain, tolerance = 1e-5): void {
  expect(a.shape).toEqual(b.shape);
  b.data.forEach((value, i) => {
    if (!(Math.abs(a.data[i] - value) <= tolerance * Math.max(1, Math.abs(value))))
      expect(a.data[i], `value ${i}`).toBe(value);
  });
}

test('a signature gives inputs and outputs their names, and the report says what nobody needs', async () => {
  const net = await loadNetwork(graphModel(small(named)));
  expect(net.inputs).toEqual([{ name: 'pixels', shape: [null, null, null, 2] }]);
  expect(net.outputs).toEqual([{ name: 'classes', shape: [null, 4] }]);
  expect([...net.layers.keys()]).toEqual(['net/conv', 'net/bn', 'net/relu', 'net/mean', 'net/mean.flatten', 'net/fc']);
  expect(net.report).toEqual({
    trainable: true,
    reason: null,
    folded: [],
    unused: ["weight 'idle'", '1 node that no output needs'],
    assumed: [],
  });
  expect(net.compile().steps).toEqual([
    'conv 3×3 / 2×2 2 → 3, relu6',
    'global average pool',
    'flatten',
    'linear 3 → 4',
  ]);
});

test('without a signature nodes that no other takes are the outputs', async () => {
  const net = await loadNetwork(graphModel(small()));
  expect(net.inputs.map(({ name }) => name)).toEqual(['image']);
  expect(net.outputs.map(({ name }) => name)).toEqual(['logits', 'nobody']);
});

test('outputs are named as the signature or the graph names them, and cut it there', async () => {
  const files = graphModel(small(named));
  const whole = await loadNetwork(files, { outputs: ['classes'] });
  const cut = await loadNetwork(files, { outputs: ['net/mean', 'net/relu:0'] });
  expect(whole.outputs.map(({ name }) => name)).toEqual(['classes']);
  expect(cut.outputs).toEqual([
    { name: 'net/mean', shape: [null, 3] },
    { name: 'net/relu', shape: [null, null, null, 3] },
  ]);
  expect(cut.report.unused).toContain("weight 'bias'");
});

test('a name of the signature that another node has is not taken, and the report says so', async () => {
  const signature = { ...named, outputs: { 'net/bn': { name: 'logits:0' } } };
  const net = await loadNetwork(graphModel(small(signature)));
  expect(net.outputs.map(({ name }) => name)).toEqual(['logits']);
  expect(net.report.assumed).toEqual([
    "output 'logits' keeps its name: 'net/bn', as the signature has it, is another node",
  ]);
});

test('a shape that the file does not say follows from the nodes, and is named', async () => {
  const net = await loadNetwork(graphModel({ ...small(), inputs: { image: undefined } }), { outputs: ['logits'] });
  expect(net.inputs).toEqual([{ name: 'image', shape: [null, null, null, 2] }]);
  expect(net.report.assumed).toEqual([
    "input 'image' has the shape [any, any, any, 2] that the nodes behind it ask for",
  ]);
});

test('an input that is made constant is none, under either of its names', async () => {
  const model: GraphText = {
    inputs: { a: [null, 2], b: [] },
    nodes: [tfNode('Mul', 'a b', 'y')],
    signature: { inputs: { factor: { name: 'b:0' }, a: { name: 'a:0' } }, outputs: { y: { name: 'y:0' } } },
  };
  for (const name of ['factor', 'b']) {
    const net = await loadNetwork(graphModel(model), { constants: { [name]: 3 } });
    expect(net.inputs.map(({ name: own }) => own)).toEqual(['a']);
    const y = net.forward(x(1, 2)) as unknown as Plain;
    expect(Array.from(y.data)).toEqual(Array.from(x(1, 2).data, (value) => Math.fround(value * 3)));
  }
});

test('channels first give what channels last give', async () => {
  const model = (isFirst: boolean): GraphText => {
    const format = { data_format: isFirst ? 'NCHW' : 'NHWC' };
    const four = (h: number, w: number) => (isFirst ? [1, 1, h, w] : [1, h, w, 1]);
    const nodes = [
      tfNode('Conv2D', 'image kernel', 'a', { padding: 'SAME', strides: four(2, 1), ...format }),
      tfNode('FusedBatchNorm', 'a gamma beta mean variance', 'b', { epsilon: 0.5, is_training: false, ...format }),
      tfNode('BiasAdd', 'b beta', 'c', format),
      tfNode('MaxPool', 'c', 'd', { padding: 'SAME', ksize: four(2, 3), strides: four(1, 2), ...format }),
      tfNode('DepthwiseConv2dNative', 'd deep', 'e', {
        padding: 'EXPLICIT',
        explicit_paddings: isFirst ? [0, 0, 0, 0, 1, 0, 0, 2] : [0, 0, 1, 0, 0, 2, 0, 0],
        strides: four(1, 1),
        ...format,
      }),
      tfNode('AvgPool', 'e', 'y', { padding: 'SAME', ksize: four(3, 2), strides: four(2, 2), ...format }),
    ];
    const constants = { ...small().constants, deep: tfFloats([2, 2, 3, 2]) };
    return { inputs: { image: isFirst ? [null, 2, null, null] : [null, null, null, 2] }, constants, nodes };
  };
  const [last, first] = await Promise.all([false, true].map((isFirst) => loadNetwork(graphModel(model(isFirst)))));
  const given = x(2, 7, 6, 2);
  const turned = turn(given, [0, 3, 1, 2]);
  const want = formsOf(last).forward(given as never);
  for (const run of Object.values(formsOf(first))) expectSame(turn(run(turned as never).y, [0, 2, 3, 1]), want.y);
});

function turn({ data, shape }: Plain, order: readonly number[]): Plain {
  const to = order.map((axis) => shape[axis]);
  const steps = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const out = Float32Array.from({ length: data.length }, (_, i) => {
    let [rest, place] = [i, 0];
    for (let a = to.length - 1; a >= 0; a--) {
      place += (rest % to[a]) * steps[order[a]];
      rest = Math.floor(rest / to[a]);
    }
    return data[place];
  });
  return { data: out, shape: to };
}

test('a norm that is fused into a convolution is one behind it', async () => {
  const model = (isFused: boolean): GraphText => ({
    ...small(),
    nodes: isFused
      ? [
          tfNode('_FusedConv2D', 'image kernel gamma beta mean variance', 'y', {
            ...conv,
            fused_ops: ['FusedBatchNorm', 'Relu'],
            epsilon: { f: 0.25 },
          }),
        ]
      : [
          tfNode('Conv2D', 'image kernel', 'a', conv),
          tfNode('FusedBatchNormV3', 'a gamma beta mean variance', 'b', { epsilon: { f: 0.25 }, is_training: false }),
          tfNode('Relu', 'b', 'y'),
        ],
  });
  const [fused, apart] = await Promise.all([true, false].map((is) => loadNetwork(graphModel(model(is)))));
  expect(fused.compile().steps).toEqual(['conv 3×3 / 2×2 2 → 3, relu']);
  expectSame(formsOf(fused).compiled(x(2, 5, 6, 2) as never).y, formsOf(apart).forward(x(2, 5, 6, 2) as never).y);
});

test('fused GELUs are those that the names say', async () => {
  for (const [op, of] of [
    ['GeluExact', 'gelu'],
    ['GeluApproximate', 'gelu-tanh'],
  ]) {
    const nodes = [tfNode('_FusedMatMul', 'v weight bias', 'y', { fused_ops: ['BiasAdd', op] })];
    const net = await loadNetwork(graphModel({ ...small(), inputs: { v: [null, 3] }, nodes }));
    expect(net.compile().steps).toEqual([`linear 3 → 4, ${of}`]);
  }
});

test('norms and activations that the graph writes as several nodes become one, and the report says which', async () => {
  const model: GraphText = {
    inputs: { image: [null, null, null, 3] },
    constants: {
      ...small().constants,
      eps: tfFloats([], [0.25]),
      three: tfFloats([], [3]),
      sixth: tfFloats([], [1 / 6]),
    },
    nodes: [
      tfNode('AddV2', 'variance eps', 'bn/add'),
      tfNode('Rsqrt', 'bn/add', 'bn/Rsqrt'),
      tfNode('Mul', 'bn/Rsqrt gamma', 'bn/mul'),
      tfNode('Mul', 'image bn/mul', 'bn/mul_1'),
      tfNode('Mul', 'mean bn/mul', 'bn/mul_2'),
      tfNode('Sub', 'beta bn/mul_2', 'bn/sub'),
      tfNode('AddV2', 'bn/mul_1 bn/sub', 'bn/add_1'),
      tfNode('AddV2', 'bn/add_1 three', 'h/add'),
      tfNode('Relu6', 'h/add', 'h/relu6'),
      tfNode('Mul', 'bn/add_1 h/relu6', 'h/mul'),
      tfNode('Mul', 'h/mul sixth', 'y'),
    ],
  };
  const net = await loadNetwork(graphModel(model));
  expect(net.report.folded).toEqual(["BatchNorm 'bn/add_1': of 7 nodes", "hard-swish 'y': of 4 nodes"]);
  expect(net.report.trainable).toBe(true);
  expect(net.layers.get('bn/add_1')?.subject).toBe('BatchNorm2d(3)');
  expect(net.compile().steps).toEqual(['affine 3, hard-swish']);
});

test('dilated convolutions between blocks are convolutions, and the report says so', async () => {
  const model: GraphText = {
    inputs: { image: [null, 6, 8, 2] },
    constants: {
      ...small().constants,
      block: tfInts(2, 2),
      pads: { shape: [2, 2], dtype: 'int32', data: [2, 2, 2, 2] },
      crops: { shape: [2, 2], dtype: 'int32', data: [0, 0, 0, 0] },
    },
    nodes: [
      tfNode('SpaceToBatchND', 'image block pads', 'a'),
      tfNode('Conv2D', 'a kernel', 'b', { ...conv, strides: [1, 1, 1, 1], padding: 'VALID' }),
      tfNode('BatchToSpaceND', 'b block crops', 'c'),
      tfNode('Relu', 'c', 'y'),
    ],
  };
  const net = await loadNetwork(graphModel(model));
  expect(net.report.folded).toEqual(["dilated convolution 'b': of 3 nodes"]);
  expect(net.report.trainable).toBe(true);
});

test('an epsilon that the file does not say is named', async () => {
  const nodes = [tfNode('FusedBatchNormV3', 'image gamma beta mean variance', 'bn', { is_training: false })];
  const net = await loadNetwork(graphModel({ ...small(), inputs: { image: [null, 2, 2, 3] }, nodes }));
  expect(net.report.assumed).toEqual(["FusedBatchNormV3 'bn': epsilon 0.001, as the file does not say it"]);
});

test('kernels that come at run time are convolved with as well', async () => {
  const nodes = [tfNode('Conv2D', 'image k', 'y', conv)];
  const model: GraphText = { inputs: { image: [null, null, null, 2], k: [3, 3, 2, 3] }, nodes };
  const net = await loadNetwork(graphModel(model));
  const fixed = await loadNetwork(graphModel({ ...small(), nodes: [tfNode('Conv2D', 'image kernel', 'y', conv)] }));
  const [image, k] = [x(1, 5, 4, 2), tfFloats([3, 3, 2, 3])];
  for (const run of Object.values(formsOf(net))) {
    expectSame(run({ image, k: k as unknown as Plain }).y, formsOf(fixed).forward(image as never).y);
  }
});

test('a network trains, and its norm moves', async () => {
  const net = await loadNetwork(graphModel(small(named)));
  const before = net.stateDict();
  net.train();
  const y = net.forward(x(2, 6, 6, 2)) as unknown as Plain;
  net.backward({ data: new Float32Array(y.data.length).fill(0.5), shape: y.shape } as never);
  expect(net.parameters().some(({ grad }) => grad.some((value) => value !== 0))).toBe(true);
  expect(net.stateDict()['net/bn.runningMean'].data).not.toEqual(before['net/bn.runningMean'].data);
});

test('constants stand in nodes as well', async () => {
  const content = btoa(String.fromCharCode(...new Uint8Array(Float32Array.of(2, -3).buffer)));
  const value = (tensor: object) => ({ dtype: 'DT_FLOAT', value: { tensor: { dtype: 'DT_FLOAT', ...tensor } } });
  const model: GraphText = {
    inputs: { a: [null, 2] },
    nodes: [
      tfNode('Const', '', 'two', value({ tensorShape: tfShape([2]), tensorContent: content })),
      tfNode('Const', '', 'one', value({ tensorShape: tfShape([2]), floatVal: [0.5] })),
      tfNode('Mul', 'a two', 'b'),
      tfNode('AddV2', 'b one', 'y'),
    ],
  };
  const net = await loadNetwork(graphModel(model));
  const y = net.forward({ data: Float32Array.of(1, 1), shape: [1, 2] }) as unknown as Plain;
  expect(Array.from(y.data)).toEqual([2.5, -2.5]);
});

test('numbers of types by number, and lists of bytes for texts, are read as TF.js reads them', async () => {
  const bytes = (text: string) => ({ s: Array.from(text, (letter) => letter.charCodeAt(0)) });
  const nodes = [
    {
      name: 'y',
      op: 'Conv2D',
      input: ['image', 'kernel'],
      attr: { strides: { list: { i: [1, 2, 2, 1] } }, padding: bytes('SAME'), T: { type: 1 } },
    },
    tfNode('MatMul', 'rows weight', 'z', { transpose_a: {} as never }),
    tfNode('Reshape', 'y last', 'rows'),
  ];
  const constants = { ...small().constants, last: tfInts(-1, 3), zero: tfInt(0) };
  const net = await loadNetwork(graphModel({ ...small(), constants, nodes }));
  expect(net.outputs).toEqual([{ name: 'z', shape: [null, 4] }]);
});
