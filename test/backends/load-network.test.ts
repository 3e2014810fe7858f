// Networks from ONNX files: what they are, what is said of them, and what is refused.

import { expect, test } from 'vitest';
import { Graph, Linear, SGD, tensor } from '../../src/index.ts';
import { load } from '../../src/infer/list.ts';
import { loadNetwork } from '../../src/weights/index.ts';
import { errorOf } from '../support/errors.ts';
import { EVERY_GROUP, formsOf, type Plain } from '../support/networks.ts';
import { floats, ints, modelWithFunctions, node, onnxModel } from '../support/onnx-models.ts';
import { fixture } from '../support/weights.ts';

const x = (...shape: number[]): Plain => {
  const size = shape.reduce((product, length) => product * length, 1);
  return { data: Float32Array.from({ length: size }, (_, i) => Math.cos(2 * i)), shape };
};

/** conv → batch norm → relu → average → linear. */
const small = (inputs: Record<string, (number | string)[]> = { image: ['n', 2, 'h', 'w'] }) =>
  onnxModel({
    inputs,
    outputs: ['logits'],
    constants: {
      'conv.weight': floats([3, 2, 3, 3]),
      'bn.weight': floats([3], [1, 2, 3]),
      'bn.bias': floats([3]),
      'bn.running_mean': floats([3]),
      'bn.running_var': floats([3], [1, 2, 0.5]),
      'fc.weight': floats([4, 3]),
      'fc.bias': floats([4]),
      idle: floats([2]),
    },
    nodes: [
      node('Conv', 'image conv.weight', 'a', { pads: [1, 1, 1, 1] }),
      node('BatchNormalization', 'a bn.weight bn.bias bn.running_mean bn.running_var', 'b'),
      node('Relu', 'b', 'c'),
      node('GlobalAveragePool', 'c', 'd'),
      node('Flatten', 'd', 'e'),
      node('Gemm', 'e fc.weight fc.bias', 'logits', { transB: 1 }),
      node('Relu', 'a', 'unused'),
    ],
  });

test('a network has the names and shapes of the file, in evaluation mode, and says what became of it', async () => {
  const net = await loadNetwork(small());
  expect(net).toBeInstanceOf(Graph);
  expect(net.training).toBe(false);
  expect(net.inputs).toEqual([{ name: 'image', shape: [null, 2, null, null] }]);
  expect(net.outputs).toEqual([{ name: 'logits', shape: [null, 4] }]);
  expect([...net.layers.keys()].slice(0, 2)).toEqual(['conv', 'bn']);
  expect(Object.keys(net.stateDict())).toContain('bn.runningMean');
  expect(net.report).toEqual({
    trainable: true,
    reason: null,
    folded: [],
    unused: ["initializer 'idle'", '1 node that no output needs'],
    assumed: [],
  });
  const run = net.compile();
  expect(run.steps).toEqual(['conv 3×3 2 → 3, relu', 'global average pool', 'flatten', 'linear 3 → 4']);
  for (const size of [4, 7]) {
    const y = run(x(2, 2, size, size + 1)) as Plain;
    expect(y.data).toHaveLength(8);
    const z = net.forward(x(2, 2, size, size + 1)) as unknown as Plain;
    y.data.forEach((value, i) => {
      expect(value).toBeCloseTo(z.data[i], 5);
    });
  }
});

test('weights wait in the file: compiled before or after they are read, changed or not', async () => {
  const net = await loadNetwork(small());
  const image = x(2, 2, 5, 4);
  const logits = (run: (x: never) => unknown) => [...(run(image as never) as Plain).data];
  const before = net.compile();
  const expected = logits(before as never);
  expect(
    logits(((x: never) => net.forward(x)) as never).map((value, i) => Math.abs(value - expected[i]) < 1e-5),
  ).toEqual(expected.map(() => true));
  const conv = net.layers.get('conv') as unknown as { weight: { data: Float32Array; grad: Float32Array } };
  expect(conv.weight.grad).toBe(conv.weight.grad);
  const after = net.compile();
  conv.weight.data.fill(0);
  expect(logits(before as never)).toEqual(expected);
  expect(logits(after as never)).toEqual(expected);
  expect(logits(net.compile() as never)).not.toEqual(expected);
  // a file that is loaded twice is changed by neither
  const [first, second] = [await loadNetwork(small()), await loadNetwork(small())];
  (first.layers.get('conv') as unknown as typeof conv).weight.data.fill(0);
  expect(logits(second.compile() as never)).toEqual(expected);
});

test('outputs cut the graph at inner values, and last layers are put on them with norms frozen', async () => {
  const trunk = await loadNetwork(small(), { outputs: ['e'] });
  expect(trunk.outputs).toEqual([{ name: 'e', shape: [null, 3] }]);
  expect(trunk.report.unused).toContain("initializer 'fc.weight'");
  (trunk.layers.get('bn') as never as { freeze(): void }).freeze();
  const net = new Graph({ image: [2, null, null] }, (g, { image }) => {
    const features = g.apply('trunk', trunk, image) as typeof image;
    return g.apply('head', new Linear(3, 2, { seed: 1 }), features);
  });
  const before = net.stateDict();
  const optimizer = new SGD(net.parameters().slice(-2), { lr: 0.1 });
  const y = net.forward(x(2, 2, 4, 4)) as unknown as Plain;
  net.zeroGrad();
  net.backward({ data: new Float32Array(y.data.length).fill(1), shape: [2, 2] });
  optimizer.step();
  const after = net.stateDict();
  expect(after['trunk.bn.runningMean']).toEqual(before['trunk.bn.runningMean']);
  expect(after['trunk.conv.weight']).toEqual(before['trunk.conv.weight']);
  expect(after['head.weight']).not.toEqual(before['head.weight']);
});

test('a network whose layers are called twice is not put into training mode', async () => {
  const net = await loadNetwork(fixture('keras-networks/graphs.keras'));
  expect(net.report.trainable).toBe(false);
  expect(net.report.reason).toBe("weights that several calls share: 'base/dense_3', 'base/batch_normalization_7'");
  expect(errorOf(() => net.train())?.[2]).toBe(
    "LoadedNetwork: train expected a network that can be trained, got weights that several calls share: 'base/dense_3', 'base/batch_normalization_7'",
  );
  expect(net.train(false)).toBe(net);
});

test('what training leaves as it is stands in the report', async () => {
  const net = await loadNetwork(
    onnxModel({
      inputs: { x: [3, 'n', 2] },
      outputs: ['y'],
      constants: { w: floats([1, 8, 2]), r: floats([1, 8, 2]) },
      nodes: [node('LSTM', 'x w r', 'a', { hidden_size: 2 }), node('Round', 'a', 'y')],
    }),
  );
  expect(net.report).toMatchObject({ trainable: true, reason: null });
  expect(net.report.assumed).toEqual(["training leaves the weights of 'LSTM_a' as they are"]);
});

test('shapes are worked out for every input: reshape by lengths, resize to another value', async () => {
  const net = await loadNetwork(
    onnxModel({
      inputs: { x: ['n', 2, 'h', 'w'] },
      outputs: ['rows', 'sum', 'lengths'],
      constants: { zero: ints(0), two: ints(2), four: ints(4), minus: ints(-1), filter: floats([2, 2, 3, 3]) },
      nodes: [
        node('Conv', 'x filter', 'half', { strides: [2, 2], pads: [1, 1, 1, 1] }),
        node('Shape', 'x', 'shape'),
        node('Slice', 'shape two four zero', 'size'),
        node('Shape', 'half', 'own'),
        node('Slice', 'own zero two zero', 'front'),
        node('Concat', 'front size', 'to', { axis: 0 }),
        node('Resize', 'half - - to', 'wide', { mode: 'nearest' }),
        node('Add', 'x wide', 'sum'),
        node('Gather', 'shape zero', 'batch', { axis: 0 }),
        node('Concat', 'batch minus', 'flat', { axis: 0 }),
        node('Reshape', 'sum flat', 'rows'),
        node('Shape', 'rows', 'lengths'),
      ],
    }),
  );
  expect(net.outputs.map(({ shape }) => shape)).toEqual([[null, null], [null, 2, null, null], [2]]);
  for (const [n, h, w] of [
    [1, 5, 4],
    [3, 8, 7],
  ]) {
    for (const run of Object.values(formsOf(net))) {
      const { rows, sum, lengths } = run({ x: x(n, 2, h, w) });
      expect(rows.shape).toEqual([n, 2 * h * w]);
      expect(sum.shape).toEqual([n, 2, h, w]);
      expect([...lengths.data]).toEqual([n, 2 * h * w]);
      expect(sum.data).toEqual(rows.data);
    }
  }
});

test('branches: by a constant, by a value, and by a length that is 1', async () => {
  const branch = (nodes: ReturnType<typeof node>[], output: string) => ({ nodes, outputs: [output] });
  const model = (condition: ReturnType<typeof node>[], one: ReturnType<typeof node>, other: ReturnType<typeof node>) =>
    onnxModel({
      inputs: { x: ['n', 2], flag: [] },
      types: { flag: 'BOOL' },
      constants: { one: ints(1), half: floats([], [0.5]) },
      outputs: ['y'],
      nodes: [
        ...condition,
        {
          ...node('If', 'c', 'y'),
          graphs: { then_branch: branch([one], one.outputs[0]), else_branch: branch([other], other.outputs[0]) },
        },
      ],
    });
  const plain = model([node('Identity', 'flag', 'c')], node('Neg', 'x', 'p'), node('Identity', 'x', 'q'));
  const fixed = await loadNetwork(plain, { constants: { flag: true } });
  expect(fixed.inputs.map(({ name }) => name)).toEqual(['x']);
  expect([...formsOf(fixed).compiled({ x: { data: Float32Array.of(1, 2), shape: [1, 2] } }).y.data]).toEqual([-1, -2]);
  const open = await loadNetwork(plain);
  for (const run of Object.values(formsOf(open))) {
    for (const flag of [0, 1]) {
      const { y } = run({ x: x(2, 2), flag: { data: Float32Array.of(flag), shape: [] } });
      expect(y.data[0]).toBe(flag ? -1 : 1);
    }
  }
  const length = [node('Shape', 'x', 's'), node('Gather', 's one', 'k'), node('Equal', 'k one', 'c')];
  const squeeze = await loadNetwork(model(length, node('Neg', 'x', 'p'), node('Identity', 'x', 'q')));
  expect([...formsOf(squeeze).compiled({ x: x(1, 2), flag: { data: Float32Array.of(0), shape: [] } }).y.data][0]).toBe(
    1,
  );
});

test('files beside the model, and inputs that are called data', async () => {
  const bytes = onnxModel({ inputs: { data: [2] }, outputs: ['y'], nodes: [node('Abs', 'data', 'y')] });
  const net = await loadNetwork({ 'model.onnx': bytes, 'model.onnx.data': new Uint8Array(4) });
  const given = { data: Float32Array.of(-1, 2), shape: [2] };
  const run = net.compile();
  for (const call of [given, { data: given }]) expect([...(run(call as never) as Plain).data]).toEqual([1, 2]);
  await expect(loadNetwork({ 'a.bin': bytes })).rejects.toThrow(
    "loadNetwork: source expected bytes, a path, or files with one of '*.onnx', 'model.json', '*.keras', '*.h5' among them, got ['a.bin']",
  );
});

test('a plan, a profile and half precision', async () => {
  const net = await loadNetwork(small({ image: [1, 2, 8, 8] }));
  const run = net.compile();
  expect(run.plan()[0]).toEqual({
    step: 'conv 3×3 2 → 3, relu',
    layers: 'conv Conv2d(2, 3) + bn BatchNorm2d(3) + Relu_c ActivationLayer',
    shape: [1, 3, 8, 8],
    bytes: 4 * (54 + 3),
    multiplyAdds: 54 * 64,
  });
  expect(run.explain()).toContain('1×3×8×8');
  const profile = run.profile(x(1, 2, 8, 8), { runs: 3 });
  expect(profile.steps.map(({ step }) => step)).toEqual(run.steps);
  expect(JSON.parse(JSON.stringify(profile)).runs).toBe(3);
  expect(String(profile).split('\n')).toHaveLength(run.steps.length + 3);
  expect(String(profile)).toMatch(/around the steps: checks, copies +\d+\.\d{3}\n +in all, median of 3 runs/);
  const on = tensor(x(1, 2, 8, 8).data, [1, 2, 8, 8]);
  run.profile(on as never, { runs: 2 });
  on.dispose();
  const [whole, half] = [run.save(), run.save({ f16: true })];
  expect(half.length).toBeLessThan(whole.length);
  const [a, b] = [whole, half].map((file) => load(file, { operations: EVERY_GROUP })(x(1, 2, 8, 8)) as Plain);
  a.data.forEach((value, i) => {
    expect(Math.abs(b.data[i] - value)).toBeLessThan(0.02);
  });
  expect(errorOf(() => run.profile(x(1, 2, 8, 8), { runs: 0 }))?.[2]).toBe(
    'profile: runs expected an integer of 1 or more, got 0',
  );
});

/** What a network gives in every form, which all agree. */
async function result(model: Uint8Array, given: Record<string, Plain>): Promise<Plain> {
  const net = await loadNetwork(model);
  const [first, ...others] = Object.values(formsOf(net)).map((run) => run(given)[net.outputs[0].name]);
  for (const other of others) {
    expect(other.shape).toEqual(first.shape);
    other.data.forEach((value, i) => {
      expect(value).toBeCloseTo(first.data[i], 5);
    });
  }
  return first;
}

test('a constant along which the other value is repeated is no map by channel', async () => {
  const model = onnxModel({
    inputs: { x: ['n', 1] },
    outputs: ['y'],
    constants: { c: floats([3], [1, 2, 3]), d: floats([2, 1], [0, 5]), axes: ints(1) },
    nodes: [node('Mul', 'x c', 'a'), node('Unsqueeze', 'a axes', 'b'), node('Add', 'b d', 'y')],
  });
  const y = await result(model, { x: { data: Float32Array.of(1, 10), shape: [2, 1] } });
  expect(y.shape).toEqual([2, 2, 3]);
  expect([...y.data]).toEqual([1, 2, 3, 6, 7, 8, 10, 20, 30, 15, 25, 35]);
});

test('the largest number of int64 means the end', async () => {
  // doubles have 2^63 − 1024, and beyond it 2^63, which is no int64
  const most = 2 ** 63 - 1024;
  const given = { x: { data: Float32Array.from({ length: 8 }, (_, i) => i), shape: [2, 4] } };
  const cut = node('Slice', 'x', 'y', { starts: [1], ends: [most], axes: [1] });
  const model = onnxModel({ inputs: { x: [2, 4] }, outputs: ['y'], nodes: [cut] }, 9);
  expect([...(await result(model, given)).data]).toEqual([1, 2, 3, 5, 6, 7]);
});

test('Dropout with a ratio of 0 is the identity, in training as well', async () => {
  const dropout = (ratio: number) =>
    onnxModel({
      inputs: { x: [2, 3] },
      outputs: ['y'],
      constants: { ratio: floats([], [ratio]), yes: { dtype: 'BOOL', shape: [], data: [1] } },
      nodes: [node('Dropout', 'x ratio yes', 'y')],
    });
  expect([...(await result(dropout(0), { x: x(2, 3) })).data]).toEqual([...x(2, 3).data]);
  await expect(loadNetwork(dropout(0.5))).rejects.toThrow(
    "ONNX: node Dropout 'Dropout_y' expected inference, or a ratio of 0, got training_mode true with ratio 0.5",
  );
});

/** leak(x, z) = LeakyRelu(x; slope)·z, and twice(x) = leak(leak(x, c), c) with c = 2. */
const functions = [
  {
    name: 'leak',
    inputs: ['x', 'z'],
    outputs: ['y'],
    defaults: { slope: 0.5 },
    nodes: [{ ...node('LeakyRelu', 'x', 'a'), references: { alpha: 'slope' } }, node('Mul', 'a z', 'y')],
  },
  {
    name: 'twice',
    inputs: ['x'],
    outputs: ['y', 'x'],
    nodes: [
      node('Constant', '', 'c', { value_float: { float: 2 } }),
      { ...node('leak', 'x c', 'a', { slope: { float: 0.25 } }), domain: 'own' },
      { ...node('leak', 'a c', 'y'), domain: 'own' },
    ],
  },
];

test('functions of the model are written out where they are called', async () => {
  const nodes = [
    { ...node('twice', 'x', 'a same'), domain: 'own' },
    { ...node('twice', 'same', 'b'), domain: 'own' },
    node('Sub', 'a b', 'zero'),
    node('Add', 'zero a', 'y'),
  ];
  const model = modelWithFunctions({ inputs: { x: ['n', 2] }, outputs: ['y'], nodes }, functions);
  const y = await result(model, { x: { data: Float32Array.of(1, -1, 3, -8), shape: [2, 2] } });
  // −1 → −0.25·2 → −0.5·0.5·2
  expect([...y.data]).toEqual([4, -0.5, 12, -4]);
});

test('functions that call themselves, grow without bounds or are of another version are refused', async () => {
  const call = (name: string, from: string, to: string) => ({ ...node(name, from, to), domain: 'own' });
  const text = { inputs: { x: [2, 2] }, outputs: ['y'], nodes: [call('f0', 'x', 'y')] };
  const one = (i: number, next: string) => ({
    name: `f${i}`,
    inputs: ['x'],
    outputs: ['y'],
    nodes: [call(next, 'x', 'a'), call(next, 'a', 'y')],
  });
  await expect(loadNetwork(modelWithFunctions(text, [one(0, 'f0')]))).rejects.toThrow(
    "ONNX: node f0 'f0_a~32/f0_a' expected functions in at most 32 levels, got more",
  );
  const many = Array.from({ length: 31 }, (_, i) => one(i, `f${i + 1}`));
  const last = { name: 'f31', inputs: ['x'], outputs: ['y'], nodes: [] };
  await expect(loadNetwork(modelWithFunctions(text, [...many, last]))).rejects.toThrow(
    'expected fewer than 262144 nodes, got more',
  );
  const old = { name: 'f0', inputs: ['x'], outputs: ['y'], nodes: [node('Relu', 'x', 'y')], opset: 9 };
  await expect(loadNetwork(modelWithFunctions(text, [old]))).rejects.toThrow(
    "ONNX: node f0 'f0_y' expected a function for version 18 of the operators, as the model is, got 9",
  );
});

test('open lengths that differ may be 1: half of a batch is repeated to the whole', async () => {
  const net = await loadNetwork(
    onnxModel(
      {
        inputs: { x: ['n', 2] },
        outputs: ['wide', 'sum'],
        nodes: [
          node('Split', 'x', 'a b', { num_outputs: 2 }),
          node('Shape', 'x', 'shape'),
          node('Expand', 'b shape', 'wide'),
          node('Mul', 'x b', 'c'),
          node('Shape', 'c', 'own'),
          node('ConstantOfShape', 'own', 'zeros'),
          node('Add', 'c zeros', 'sum'),
        ],
      },
      18,
    ),
  );
  for (const run of Object.values(formsOf(net))) {
    const { wide, sum } = run({ x: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] } });
    expect([...wide.data]).toEqual([3, 4, 3, 4]);
    expect([...sum.data]).toEqual([3, 8, 9, 16]);
  }
});
