// ONNX models in the forms that exporters give them: constants, shared tensors, external data,
// norms in several nodes, old versions; what is read, what is refused, and what a fold leaves.

import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { nodeField, tensorField, valueField, writeModel } from '../../src/formats/onnx-write.ts';
import { floatField, integerField, lengthField } from '../../src/formats/protobuf.ts';
import {
  ActivationLayer,
  Flatten,
  foldConv,
  foldLinear,
  GroupNorm,
  HardSigmoid,
  HardTanh,
  Linear,
  PReLU,
  Random,
  ReLU,
  SELU,
  Sequential,
  Softmax,
  Softsign,
} from '../../src/index.ts';
import {
  foldOnnx,
  fromOnnx,
  loadNetwork,
  loadSequential,
  normsOf,
  onnxFiles,
  readOnnx,
  statelessNormsOf,
  toOnnx,
  toTorch,
} from '../../src/weights/index.ts';
import { strangeNorms, tensorsOf } from '../../src/weights/onnx.ts';
import { answers, fixture, fixturePath, relative } from '../support/weights.ts';

const answer = answers('onnx/answers.json');
const file = (name: string) => fixture(`onnx/${name}.onnx`);
const files = { 'outside.data': fixture('onnx/outside.data') };

/** Norms by row or instance are not compiled. */
const isCompiled = (net: Sequential) => !net.layers.some(({ subject }) => /^(?:Layer|RMS|Instance)Norm/.test(subject));

function expectAnswer(net: Sequential, name: string, tolerance = 3e-6): void {
  const { x, y, shape } = answer[name];
  const input = { data: Float32Array.from(x as number[]), shape };
  expect(relative(net.forward(input).data, y)).toBeLessThan(tolerance);
  if (isCompiled(net)) expect(relative(net.compile()(input).data, y)).toBeLessThan(tolerance);
}

/** What remains of a model, as somebody else would see it. */
function anatomy(bytes: Uint8Array) {
  const { nodes, initializers, shapes, outputs } = readOnnx(bytes);
  const given = new Set([...initializers.keys(), ...nodes.flatMap((node) => node.outputs)]);
  const taken = new Set([...outputs, ...nodes.flatMap((node) => [...node.inputs, ...node.captured])]);
  const idle = [...given].filter((name) => !taken.has(name));
  const lost = [...shapes.keys()].filter((name) => name !== 'x' && !given.has(name));
  return { ops: nodes.map(({ op }) => op), idle, lost };
}

describe('chains', () => {
  test.each([
    'constants',
    'shared',
    'layer_norms',
    'rms_norms',
    'decomposed',
    'decomposed_instance',
    'activations_decomposed',
  ])('%s gives the outputs of its formula', async (name) => {
    expectAnswer(await loadSequential(file(name)), name);
  });

  test('constants added and multiplied are layers, far from 0 as well', async () => {
    const net = await loadSequential(file('affine'));
    expectAnswer(net, 'affine', 1e-5);
  });

  test('activations and norms in several nodes are one layer each', async () => {
    const kinds = (net: Sequential) =>
      net.layers.map((layer) => (layer instanceof ActivationLayer ? layer.activation : layer.subject));
    expect(
      kinds(await loadSequential(file('activations_decomposed'))).filter((kind) => !`${kind}`.startsWith('Lin')),
    ).toEqual(['gelu', 'gelu', 'gelu-tanh', 'mish', 'hard-swish', 'silu', 'hard-sigmoid']);
    expect(kinds(await loadSequential(file('decomposed')))).toEqual([
      'Linear(4, 6)',
      'LayerNorm(6)',
      'relu',
      'RMSNorm(6)',
    ]);
  });

  test('layers of their own go out and come back: curves, slopes, Flatten, Softmax', async () => {
    const slopes = new PReLU(6);
    slopes.loadStateDict({ weight: { data: Float32Array.of(0.1, -0.2, 0.3, 1.5, 0, 2), shape: [6] } });
    const net = new Sequential(
      ...[new Flatten(), new Linear(12, 6, { seed: 1 }), slopes, new SELU(), new Softsign()],
      ...[new HardTanh(-0.4, 0.45), new HardSigmoid({ slope: 0.3 }), new PReLU(1), new Softmax()],
    ).eval();
    const x = { data: Float32Array.from({ length: 36 }, (_, i) => Math.sin(i * i) * 3), shape: [3, 3, 4] };
    const back = await loadSequential(toOnnx(net, { inputShape: [3, 4] }));
    expect(back.layers.map(({ subject }) => subject)).toEqual(net.layers.map(({ subject }) => subject));
    expect(relative(back.forward(x).data, net.forward(x).data)).toBeLessThan(1e-6);
  });

  test('an approximation is not taken for the exact GELU, nor a function that is none', async () => {
    const scalar = (name: string, value: number) => tensorField(5, name, Float32Array.of(value), []);
    const node = (op: string, inputs: string[], output: string) => nodeField(op, output, inputs, [output]);
    const model = (factor: number) =>
      writeModel(
        [
          ...[node('Mul', ['x', 'k'], 'a'), node('Sigmoid', ['a'], 'b'), node('Mul', ['x', 'b'], 'y')],
          lengthField(2, 'g'),
          scalar('k', factor),
          ...[valueField(11, 'x', ['n', 3]), valueField(12, 'y', ['n', 3])],
        ],
        15,
      );
    expect((await loadSequential(model(1))).layers.length).toBe(1);
    for (const factor of [1.702, 1 + 1e-4])
      await expect(loadSequential(model(factor))).rejects.toThrow(
        "ONNX: graph expected a chain of layers that there are here, got multiply of 2 values ('y') (offset 0)",
      );
  });

  test.each([
    ['Div', 0],
    ['Div', 1e-39],
    ['Mul', Number.NaN],
    ['Add', Number.POSITIVE_INFINITY],
  ])('%s by %d is no map of numbers', async (op, constant) => {
    const model = writeModel(
      [
        nodeField(op, 'n', ['x', 'c'], ['y']),
        lengthField(2, 'g'),
        tensorField(5, 'c', Float32Array.of(1, constant, 2), [3]),
        ...[valueField(11, 'x', ['n', 3]), valueField(12, 'y', ['n', 3])],
      ],
      15,
    );
    await expect(loadSequential(model)).rejects.toThrow(
      "ONNX: node 'n' expected factors and summands that f32 holds, got a division by 0, or larger ones (offset 0)",
    );
  });

  test('everything that is no layer is named in one error', async () => {
    await expect(loadSequential(file('strange'))).rejects.toThrow(
      "ONNX: graph expected a chain of layers that there are here, got sin ('c'), cos ('y') (offset 0)",
    );
    // a choice that is made already is the branch
    expect((await loadSequential(file('branches'))).layers.length).toBeGreaterThan(0);
    const two = writeModel(
      [
        nodeField('Mul', 'c', ['x', 'w'], ['y']),
        nodeField('Relu', 'r', ['y'], ['z']),
        ...['x', 'w'].map((name) => valueField(11, name, ['n', 3])),
        ...['y', 'z'].map((name) => valueField(12, name, ['n', 3])),
      ],
      15,
    );
    await expect(loadSequential(two)).rejects.toThrow(
      "ONNX: graph expected a chain of layers that there are here, from one input to one output, got 2 inputs ('x', 'w'), 2 outputs ('y', 'z'), multiply of 2 values ('c') (offset 0)",
    );
  });

  test.each([
    ['dropout_training', "ONNX: node Dropout 'y' expected inference, or a ratio of 0, got training_mode true"],
    ['training', "ONNX: node BatchNormalization 'y' expected inference, got training_mode 1"],
    ['single', "ONNX: node BatchNormalization 'a' expected statistics of channels, got spatial 0"],
    [
      'old6',
      'ONNX: opset_import expected version 7 or later of the operators (onnx.version_converter.convert_version(model, 13) writes one), got 6 (offset 0)',
    ],
  ])('%s is refused', async (name, message) => {
    await expect(loadSequential(file(name))).rejects.toThrow(message);
  });

  test.each([
    [[2, 3, 4], [2, 1, 4], 'weights of shape [2, 1, 4] for the last 2 axes'],
    [[2, 3, 4], [3, 2], 'weights of shape [3, 2] for axes of lengths [3, 4]'],
    [['n', 'm', 4], [4], 'normalised axes of unknown length'],
  ])('a scale that is no LayerNorm’s: %j, %j', async (shape, scale, problem) => {
    const size = scale.reduce((product, length) => product * length, 1);
    const model = writeModel(
      [
        nodeField('LayerNormalization', 'ln', ['x', 's'], ['y'], { axis: -2 }),
        lengthField(2, 'g'),
        tensorField(5, 's', new Float32Array(size), scale),
        ...[valueField(11, 'x', shape), valueField(12, 'y', shape)],
      ],
      17,
    );
    await expect(loadSequential(model)).rejects.toThrow(
      /^ONNX: (?:graph expected a chain of layers that there are here, got mean \('ln'\)|node LayerNormalization 'ln' expected)/,
    );
    expect(statelessNormsOf(readOnnx(model))[0].problem).toBe(problem);
    expect(fromOnnx(model).unused).toEqual(['s']);
    expect(strangeNorms(readOnnx(model))).toEqual([`LayerNormalization ln (${problem})`]);
  });
});

describe('weights', () => {
  test('parameters behind other nodes carry the names of what they were made of, and nothing is left over', () => {
    const { state, norms, unused, missing } = fromOnnx(file('constants'));
    expect(Object.keys(state).filter((name) => !name.endsWith('batchesTracked'))).toEqual([
      ...['bn1.gamma', 'bn1.beta', 'bn1.runningMean', 'bn1.runningVar'],
      ...['bn2.gamma', 'bn2.beta', 'bn2.runningMean', 'bn2.runningVar'],
      ...['fc.weight', 'fc.bias', 'g.weight'],
    ]);
    expect(state['fc.weight'].shape).toEqual([6, 4]);
    expect(state['fc.bias'].shape).toEqual([6]);
    expect(norms.bn1.eps).toBe(0.001);
    expect(missing).toEqual([]);
    // of the number that is added, no layer's
    expect(unused).toEqual(['half', 'two']);
  });

  test('tensors that several layers share are each one’s, under a name of its own', () => {
    const { state, unused, norms } = fromOnnx(file('shared'));
    expect(Object.keys(norms)).toEqual(['bn1', 'bn2']);
    expect(state['bn2.gamma'].data).toEqual(state['bn1.gamma'].data);
    expect(state['bn2.runningMean'].data).not.toEqual(state['bn1.runningMean'].data);
    expect(state['gemm.bias'].shape).toEqual([4]);
    expect(unused).toEqual([]);
    expect(toTorch(state).size).toBeGreaterThan(10);
  });

  test('convolutions come along', () => {
    const { state, unused } = fromOnnx(file('convs'));
    expect(unused).toEqual([]);
    // a bias that is added behind its layer is the layer's
    expect(fromOnnx(file('inside')).state['conv.bias'].shape).toEqual([5]);
    expect(fromOnnx(file('inside')).unused).toEqual([]);
    expect(state['conv.weight'].shape).toEqual([5, 2, 3, 3]);
    expect(state['conv.bias'].shape).toEqual([5]);
    expect(state['up.weight'].data).toEqual(readOnnx(file('convs')).initializers.get('up.weight')!.data);
  });

  test('a scale of fewer values is spread over what is normalised', () => {
    const { state } = fromOnnx(file('layer_norms'));
    const [one, two, three] = statelessNormsOf(readOnnx(file('layer_norms')));
    expect([one.shape, two.shape, three.shape]).toEqual([[3, 4], [4], [3, 4]]);
    expect(state['a.gamma'].shape).toEqual([3, 4]);
    expect(Array.from(state['a.gamma'].data.slice(4, 8))).toEqual(Array.from(state['a.gamma'].data.slice(0, 4)));
    expect(new Set(state['b.gamma'].data).size).toBe(1);
    expect(new Set(state['y.gamma'].data.slice(4, 8)).size).toBe(1);
  });

  test('norms in several nodes, inside branches and of single values are seen', () => {
    expect(strangeNorms(readOnnx(file('decomposed')))).toEqual([
      'LayerNorm ln (in 9 nodes)',
      'RMSNorm rms (in 7 nodes)',
    ]);
    expect(strangeNorms(readOnnx(file('decomposed_instance')))).toEqual(['InstanceNorm norm (in 9 nodes)']);
    expect(strangeNorms(readOnnx(file('branches')))).toEqual([
      'BatchNormalization bnB.node (inside If choice: else_branch)',
      'BatchNormalization bnA.node (inside If choice: then_branch)',
    ]);
    expect(strangeNorms(readOnnx(file('single')))).toEqual([
      'BatchNormalization bn (spatial 0: statistics of single values, not of channels)',
    ]);
    expect(fromOnnx(file('decomposed')).state['ln.gamma'].shape).toEqual([6]);
    expect(fromOnnx(file('branches')).unused.length).toBe(9);
    expect([...tensorsOf(readOnnx(file('branches'))).keys()]).toContain('choice/then_branch/bnA.weight');
    // the other norm of the file is read
    expect(Object.keys(fromOnnx(file('single')).norms)).toEqual(['bn2']);
    expect(fromOnnx(file('single')).unused.length).toBe(4);
  });

  test('version 6 is read for whoever only looks', () => {
    const message =
      'ONNX: opset_import expected version 7 or later of the operators (onnx.version_converter.convert_version(model, 13) writes one), got 6 (offset 0)';
    expect(() => fromOnnx(file('old6'))).toThrow(message);
    expect(() => foldOnnx(file('old6'))).toThrow(message);
    const { norms, state, missing } = fromOnnx(file('old6'), { lenient: true });
    expect(Object.keys(norms)).toEqual(['bn']);
    expect(state['fc.bias'].shape).toEqual([6]);
    expect(missing).toEqual([]);
    expect(normsOf(readOnnx(file('old6')))[0].training).toBe(false);
  });
});

describe('external data', () => {
  test('is found by its location, whoever gives it', async () => {
    expect(onnxFiles(file('outside'))).toEqual(['outside.data']);
    expect(onnxFiles(file('inside'))).toEqual([]);
    const inside = readOnnx(file('inside'));
    for (const given of [files, new Map(Object.entries(files)), (name: string) => files[name as 'outside.data']]) {
      const model = readOnnx(file('outside'), { files: given });
      expect(model.files).toEqual(['outside.data']);
      for (const [name, { data }] of tensorsOf(inside)) expect(tensorsOf(model).get(name)!.data).toEqual(data);
    }
    expect(fromOnnx(readOnnx(file('outside'), { files })).state).toEqual(fromOnnx(inside).state);
  });

  test('a fold is one file', () => {
    const { file: folded, folded: norms } = foldOnnx(file('outside'), { files });
    expect(norms.map(({ norm, into, side }) => [norm, into, side])).toEqual([['bn', 'conv', 'behind']]);
    expect(onnxFiles(folded)).toEqual([]);
    const values = (bytes: Uint8Array) => [...tensorsOf(readOnnx(bytes))].map(([name, { data }]) => [name, [...data]]);
    expect(values(folded)).toEqual(values(foldOnnx(file('inside')).file));
    expect(anatomy(folded)).toEqual({
      ops: ['Conv', 'Add', 'GlobalAveragePool', 'Flatten', 'Constant', 'MatMul'],
      idle: [],
      lost: [],
    });
  });

  test('what is not there, or lies elsewhere, is refused by name', () => {
    expect(() => readOnnx(file('outside'))).toThrow(
      "ONNX: attribute tensor 'head.weight.value' expected the file 'outside.data', which holds its values: readOnnx(bytes, { files: { 'outside.data': its bytes } }), got none",
    );
    expect(() => readOnnx(file('outside'), { files: { 'outside.data': new Uint8Array(40) } })).toThrow(
      /^ONNX: attribute tensor 'head\.weight\.value' expected bytes \d+ to \d+ of 'outside\.data', got a file of 40 \(offset \d+\)$/,
    );
    const model = (location: string, entries: Record<string, string> = {}) =>
      writeModel(
        [
          lengthField(5, [
            Uint8Array.of(8, 2, 16, 1),
            lengthField(8, 'w'),
            ...Object.entries({ location, ...entries }).map(([key, value]) =>
              lengthField(13, [lengthField(1, key), lengthField(2, value)]),
            ),
            Uint8Array.of(14 * 8, 1),
          ]),
        ],
        15,
      );
    const asked: string[] = [];
    const any = (name: string) => {
      asked.push(name);
      return new Uint8Array(16);
    };
    for (const location of ['../secret', '/etc/passwd', 'a/../../b', 'C:\\a', '..\\a', 'a\\b', 'file:a', ''])
      expect(() => readOnnx(model(location), { files: any })).toThrow(
        `ONNX: initializer 'w' expected external data in a file beside the model, got ${location ? `'${location}'` : 'no location'}`,
      );
    expect(asked).toEqual([]);
    const read = (entries: Record<string, string>) => readOnnx(model('a', entries), { files: any });
    expect(read({ offset: '8', length: '8' }).initializers.get('w')!.data.length).toBe(2);
    expect(() => read({ offset: '-8' })).toThrow(
      "ONNX: initializer 'w' expected a whole number as offset of its external data, got '-8'",
    );
    expect(() => read({ offset: '1e3' })).toThrow("expected a whole number as offset of its external data, got '1e3'");
    expect(() => read({ offset: '12', length: '8' })).toThrow("expected bytes 12 to 20 of 'a', got a file of 16");
    expect(() => read({})).toThrow("ONNX: initializer 'w' expected 8 bytes for this shape and type, got 16");
    expect(() => readOnnx(model('a'), { files: 1 as never })).toThrow(
      'readOnnx: files expected a Map, a record or a function, got 1',
    );
  });
});

describe('folds', () => {
  test('constants that nobody takes any more go, with the nodes that made them', () => {
    const before = file('constants');
    const { file: folded, folded: norms, kept } = foldOnnx(before);
    expect(kept).toEqual([]);
    expect(norms.map(({ norm, into }) => [norm, into])).toEqual([
      ['bn1', 'a'],
      ['bn2', 'g'],
    ]);
    expect(folded.length).toBeLessThan(before.length);
    expect(anatomy(folded)).toEqual({ ops: ['MatMul', 'Add', 'Relu', 'Gemm', 'Add'], idle: [], lost: [] });
  });

  test.each(readdirSync(fixturePath('onnx')).filter((name) => /\.onnx$/.test(name) && !/old6/.test(name)))(
    '%s is not larger, has nothing idle that was not, and gives the same',
    async (name) => {
      const before = fixture(`onnx/${name}`);
      const { file: folded, folded: norms } = foldOnnx(before, { files });
      const data = name === 'outside.onnx' ? files['outside.data'].length : 0;
      expect(folded.length).toBeLessThanOrEqual(before.length + data);
      const idle = data ? [] : anatomy(before).idle;
      expect(anatomy(folded).idle.filter((one) => !idle.includes(one))).toEqual([]);
      const key = name.replace('.onnx', '');
      if (!norms.length || !answer[key]) return;
      const { x, y, shape = [3, x.length / 3] } = answer[key];
      const net = await loadSequential(folded);
      expect(relative(net.forward({ data: Float32Array.from(x as number[]), shape }).data, y)).toBeLessThan(3e-6);
    },
  );

  const vector = (name: string, ...values: number[]) =>
    tensorField(5, name, Float32Array.from(values), [values.length]);
  const bn = (name: string, input: string, output: string, prefix = name) =>
    nodeField(
      'BatchNormalization',
      name,
      [input, ...['g', 'b', 'm', 'v'].map((leaf) => `${prefix}.${leaf}`)],
      [output],
    );
  const stats = (prefix: string, n = 2) =>
    ['g', 'b', 'm', 'v'].map((leaf, i) =>
      vector(`${prefix}.${leaf}`, ...Array.from({ length: n }, (_, k) => i + k + 1)),
    );
  const model = (...fields: Uint8Array[]) =>
    writeModel([lengthField(2, 'g'), ...fields, valueField(11, 'x', ['n', 2]), valueField(12, 'y', ['n', 2])], 15);
  const W = tensorField(5, 'W', Float32Array.of(1, 2, 3, 4), [2, 2]);

  test('weights that another node takes stay, and so does their norm', () => {
    const shared = model(
      ...[nodeField('Gemm', 'one', ['x', 'W'], ['a']), bn('n', 'a', 'b'), nodeField('Gemm', 'two', ['b', 'W'], ['y'])],
      ...[W, ...stats('n')],
    );
    const { file: out, folded, kept } = foldOnnx(shared);
    const reason =
      'the weights W are used elsewhere or stored in fewer bytes: a folded copy would make the file larger';
    expect([out, folded, kept]).toEqual([shared, [], [{ norm: 'n', reason: `${reason}; ${reason}` }]]);
  });

  test('weights that are inputs as well: that nobody gives others is said', () => {
    const inputs = (...names: string[]) => names.map((name) => valueField(11, name, name === 'W' ? [2, 2] : [2]));
    const net = [nodeField('Gemm', 'one', ['x', 'W'], ['a']), bn('n', 'a', 'y'), W, ...stats('n')];
    const { folded, assumed } = foldOnnx(model(...net, ...inputs('W', 'n.m')));
    expect(folded.map(({ norm, assumed: own }) => [norm, own])).toEqual([['n', ['inputs']]]);
    expect(assumed.map((text) => text.split(', ').sort())).toEqual([
      ['W', 'inputs of the model', 'n: nobody gives other values for n.m'].sort(),
    ]);
    expect(foldOnnx(model(...net, ...inputs('n.v'))).assumed).toEqual([
      'n: nobody gives other values for n.v, an input of the model',
    ]);
    expect(foldOnnx(model(...net)).assumed).toEqual([]);
    // before version 4 of the format every weight is an input
    const old = model(...net, ...inputs('W', 'n.g', 'n.b', 'n.m', 'n.v'));
    old[1] = 3;
    expect([readOnnx(old).irVersion, foldOnnx(old).folded[0].assumed]).toEqual([3, undefined]);
  });

  test('norms in a row go one after another, before and behind', async () => {
    const chain = model(
      ...[
        bn('n1', 'x', 'a'),
        bn('n2', 'a', 'b'),
        nodeField('Gemm', 'fc', ['b', 'W'], ['c']),
        bn('n3', 'c', 'd'),
        bn('n4', 'd', 'y'),
      ],
      ...[W, ...['n1', 'n2', 'n3', 'n4'].flatMap((name) => stats(name))],
    );
    const { file: out, folded, kept } = foldOnnx(chain);
    expect(kept).toEqual([]);
    expect(folded.map(({ norm, side }) => [norm, side])).toEqual([
      ['n2', 'before'],
      ['n3', 'behind'],
      ['n4', 'behind'],
      ['n1', 'before'],
    ]);
    expect(anatomy(out)).toEqual({ ops: ['Gemm'], idle: [], lost: [] });
    const x = { data: Float32Array.of(0.3, -1.2, 2.5, 0.1), shape: [2, 2] };
    const want = (await loadSequential(chain)).forward(x).data;
    expect(relative((await loadSequential(out)).forward(x).data, want)).toBeLessThan(1e-6);
  });

  test('a bias that would take more room than the norm is not made', () => {
    // five norms behind products of one weight each: all of them share their parameters, so that
    // little goes
    const names = ['n1', 'n2', 'n3'];
    const width = 64;
    const wide = (name: string) =>
      tensorField(
        5,
        name,
        Float32Array.from({ length: 2 * width }, (_, i) => i / 9),
        [2, width],
      );
    const values = writeModel(
      [
        lengthField(2, 'g'),
        ...names.flatMap((name) => [
          nodeField('Gemm', name, ['x', `W${name}`], [`a${name}`]),
          nodeField('BatchNormalization', `b${name}`, [`a${name}`, ...['p.g', 'p.b', 'p.m', 'p.v']], [`y${name}`]),
        ]),
        ...names.map((name) => wide(`W${name}`)),
        ...stats('p', width),
        // somebody else takes the parameters as well
        nodeField('Sum', 'sum', ['p.g', 'p.b', 'p.m', 'p.v', 'x2'], ['s']),
        valueField(11, 'x', ['n', 2]),
        valueField(11, 'x2', ['n', width]),
        ...names.map((name) => valueField(12, `y${name}`, ['n', width])),
        valueField(12, 's', ['n', width]),
      ],
      15,
    );
    const { file: out, folded, kept } = foldOnnx(values);
    expect(folded).toEqual([]);
    expect(kept.map(({ norm }) => norm)).toEqual(['bn1', 'bn2', 'bn3']);
    expect(kept[0].reason).toBe(
      'folded into its layer it would make the file larger, as what it takes is shared; no layer behind it',
    );
    expect(out).toEqual(values);
  });

  test.each([
    ['Conv', [6, 2, 3], 3, 'behind'],
    ['Conv', [6, 2, 3], 3, 'before'],
    ['Conv', [4, 1, 2, 3], 4, 'before'],
    ['Conv', [5, 3, 1, 2, 2], 1, 'behind'],
    ['ConvTranspose', [4, 3, 2, 2], 2, 'behind'],
    ['ConvTranspose', [4, 3, 5], 1, 'behind'],
    ['Gemm', [3, 5], 0, 'before'],
    ['Gemm', [3, 5], 1, 'behind'],
    ['MatMul', [3, 5], 0, 'behind'],
  ] as [string, number[], number, string][])(
    '%s with weights %j (%i): what foldConv and foldLinear make of it, norm %s',
    (op, shape, extra, side) => {
      const random = new Random(7);
      const numbers = (n: number) => Float32Array.from({ length: n }, () => random.normal());
      const isLinear = op === 'Gemm' || op === 'MatMul';
      const isTorch = op === 'Gemm' && extra === 1;
      const groups = isLinear ? 1 : extra;
      const transposed = op === 'ConvTranspose';
      const [first, second] = shape;
      const [outs, ins] = isLinear
        ? isTorch
          ? [first, second]
          : [second, first]
        : transposed
          ? [second * groups, first]
          : [first, second * groups];
      const channels = side === 'before' ? ins : outs;
      const weight = numbers(shape.reduce((product, length) => product * length, 1));
      const bias = op === 'MatMul' ? undefined : numbers(outs);
      const norm = {
        gamma: numbers(channels),
        beta: numbers(channels),
        mean: numbers(channels),
        variance: numbers(channels).map((value) => value * value + 0.1),
      };
      const layer = nodeField(
        op,
        'layer',
        [side === 'before' ? 'h' : 'x', 'W', ...(bias ? ['B'] : [])],
        [side === 'before' ? 'y' : 'h'],
        isLinear ? (isTorch ? { transB: 1 } : {}) : { group: groups },
      );
      const normNode = nodeField(
        'BatchNormalization',
        'n',
        [side === 'before' ? 'x' : 'h', ...Object.keys(norm)],
        [side === 'before' ? 'h' : 'y'],
      );
      const rank = shape.length;
      const bytes = writeModel(
        [
          ...(side === 'before' ? [normNode, layer] : [layer, normNode]),
          tensorField(5, 'W', weight, shape),
          ...(bias ? [tensorField(5, 'B', bias, [outs])] : []),
          ...Object.entries(norm).map(([name, data]) => tensorField(5, name, data, [channels])),
          valueField(11, 'x', ['n', ins, ...shape.slice(2).map(() => 8)]),
          valueField(
            12,
            'y',
            Array.from({ length: rank }, () => 'k'),
          ),
        ],
        15,
      );
      const { file: out, folded, kept } = foldOnnx(bytes);
      expect([folded.length, kept]).toEqual([1, []]);
      const plain = { weight, bias, shape, layout: isLinear && !isTorch ? ('keras' as const) : ('torch' as const) };
      const layered = isLinear ? plain : { ...plain, groups, transposed };
      const fold = isLinear ? foldLinear : (foldConv as unknown as typeof foldLinear);
      const want = side === 'before' ? fold(norm, layered) : fold(layered, norm);
      const { initializers } = readOnnx(out);
      expect(initializers.get('W')!.data).toEqual(want.weight);
      expect(initializers.get(bias ? 'B' : 'W.folded_bias')!.data).toEqual(want.bias);
      expect(folded[0].rounding).toBeCloseTo(Math.max(...want.certificate.weights), 9);
    },
  );

  test('the reasons of norms that stay name what is in the way', () => {
    const reasons = (bytes: Uint8Array) => foldOnnx(bytes).kept;
    expect(reasons(file('single'))[0]).toEqual({
      norm: 'bn',
      reason: 'spatial 0: statistics of single values, not of channels',
    });
    expect(reasons(file('branches'))).toEqual([
      { norm: 'bnB.node', reason: 'it is inside another node (If choice: else_branch)' },
      { norm: 'bnA.node', reason: 'it is inside another node (If choice: then_branch)' },
    ]);
    expect(reasons(file('training'))).toEqual([{ norm: 'bn', reason: 'it is in training mode' }]);
    const negative = model(
      ...[nodeField('Gemm', 'fc', ['x', 'W'], ['a']), bn('n', 'a', 'y'), W],
      ...[vector('n.g', 1, 1), vector('n.b', 1, 1), vector('n.m', 1, 1), vector('n.v', 1, -9.99e-6)],
    );
    expect(reasons(negative)).toEqual([
      { norm: 'n', reason: 'ONNX: variance expected values of 0 or more, got -0.000009989999853132758 (channel 1)' },
    ]);
  });

  test('a norm whose weights are in half floats is folded in half floats, and not where a cast makes more of them', () => {
    const half = (cast: boolean) =>
      model(
        ...(cast ? [nodeField('Cast', 'cast', ['W16'], ['W'], { to: 1 })] : []),
        nodeField('Gemm', 'fc', ['x', 'W'], ['a']),
        ...[bn('n', 'a', 'y'), ...stats('n')],
        tensorField(5, cast ? 'W16' : 'W', [1, 2, 3, 0.1], [2, 2], 'F16'),
      );
    expect(foldOnnx(half(true)).kept[0].reason).toContain('stored in fewer bytes');
    const { file: out, folded } = foldOnnx(half(false));
    expect(readOnnx(out).initializers.get('W')!.dtype).toBe('F16');
    expect(folded[0].rounding).toBeGreaterThan(1e-5);
  });
});

describe('models that cost more than they are', () => {
  const repeat = (part: Uint8Array, count: number) => {
    const out = new Uint8Array(part.length * count);
    for (let i = 0; i < count; i++) out.set(part, i * part.length);
    return out;
  };
  const stats = ['g', 'b', 'm', 'v'].map((name) => tensorField(5, name, Float32Array.of(1, 1, 1), [3]));
  const many = (count: number, op: string, inputs: string[], more: Uint8Array[] = []) =>
    writeModel(
      [
        ...Array.from({ length: count }, (_, i) =>
          nodeField(op, `n${i}`, [i ? `y${i - 1}` : 'x', ...inputs], [`y${i}`]),
        ),
        ...[...more, valueField(11, 'x', ['n', 3]), valueField(12, `y${count - 1}`, ['n', 3])],
      ],
      15,
    );
  const parts = 'ONNX: model expected fewer parts for its size, got more than fit in memory';

  test.each([
    ['nodes without an operator', repeat(lengthField(1, []), 1e6), 'ONNX: node expected an op_type, got none'],
    ['nodes of three bytes', repeat(lengthField(1, [lengthField(4, 'A')]), 5e5), parts],
    ['values without a name', repeat(lengthField(13, []), 1e6), parts],
    ['a node of two million inputs', lengthField(1, [lengthField(4, 'A'), repeat(lengthField(1, 'a'), 2e6)]), parts],
    [
      'graphs in nodes',
      repeat(lengthField(1, [lengthField(4, 'If'), lengthField(5, [lengthField(1, 'a'), lengthField(6, [])])]), 1e5),
      parts,
    ],
    [
      'lengths of a million axes',
      lengthField(5, [repeat(integerField(1, 1), 1e6)]),
      'ONNX: initializer dims expected at most 64 axes, got more',
    ],
    [
      'numbers of an attribute',
      lengthField(1, [lengthField(4, 'A'), lengthField(5, [lengthField(8, new Uint8Array(6e6))])]),
      parts,
    ],
  ])('%s are refused before they are objects', (_, fields, message) => {
    expect(() => readOnnx(writeModel([fields], 15))).toThrow(message);
  });

  test('fields that nobody knows, and values one by one, take no memory each', () => {
    const before = process.memoryUsage().heapUsed;
    const unknown = readOnnx(writeModel([repeat(integerField(100, 1), 1e6)], 15));
    const values = lengthField(5, [
      integerField(1, 1e6),
      integerField(2, 6),
      lengthField(8, 'a'),
      repeat(integerField(5, 7), 1e6),
    ]);
    const tensor = readOnnx(writeModel([values], 15)).initializers.get('a')!;
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64e6);
    expect(unknown.nodes).toEqual([]);
    expect(tensor.data.length).toBe(1e6);
    expect(tensor.data.every((value) => value === 7)).toBe(true);
  });

  test('two thousand norms in a row fold in a moment, into one layer', async () => {
    const chain = many(2000, 'BatchNormalization', ['g', 'b', 'm', 'v'], stats);
    const layer = [
      nodeField('Gemm', 'fc', ['y1999', 'W'], ['z']),
      tensorField(5, 'W', new Float32Array(9).fill(0.5), [3, 3]),
    ];
    const model = readOnnx(chain);
    const graph = [...[...model.graphFields].map(({ raw }) => raw).filter((_, i, all) => i < all.length - 1), ...layer];
    const whole = writeModel([...graph, valueField(12, 'z', ['n', 3])], 15);
    const start = performance.now();
    const { folded, kept, file: out } = foldOnnx(whole);
    expect(performance.now() - start).toBeLessThan(3000);
    expect([folded.length, kept.length]).toEqual([2000, 0]);
    expect(anatomy(out).ops).toEqual(['Gemm']);
  });

  test('one weight that thousands of nodes take is not taken thousands of times', async () => {
    const weight = tensorField(5, 'W', new Float32Array(90_000), [300, 300]);
    const gemms = writeModel(
      [
        ...Array.from({ length: 2000 }, (_, i) =>
          nodeField('MatMul', `n${i}`, [i ? `y${i - 1}` : 'x', 'W'], [`y${i}`]),
        ),
        ...[weight, valueField(11, 'x', ['n', 300]), valueField(12, 'y1999', ['n', 300])],
      ],
      15,
    );
    const message =
      "ONNX: model expected weights of few times its size, got more: 'W' is used time after time (offset 0)";
    const many = /weights of few times the size of the file, got more: 'n\d+' takes some time after time$/;
    await expect(loadSequential(gemms)).rejects.toThrow(many);
    await expect(loadNetwork(gemms)).rejects.toThrow(many);
    const products = writeModel(
      [
        ...Array.from({ length: 2000 }, (_, i) => nodeField('Gemm', `n${i}`, ['x', 'W', `b${i}`], [`y${i}`])),
        ...Array.from({ length: 2000 }, (_, i) => tensorField(5, `b${i}`, new Float32Array(1), [1])),
        ...[weight, valueField(11, 'x', ['n', 300])],
      ],
      15,
    );
    expect(() => fromOnnx(products)).toThrow(message);
  });

  test('constants made of constants are worked out a few times, not 2^60', () => {
    const doubled = (count: number) =>
      writeModel(
        [
          ...Array.from({ length: count }, (_, i) => {
            const name = i ? `c${i - 1}` : 'c';
            return nodeField('Add', '', [name, name], [`c${i}`]);
          }),
          nodeField('Gemm', 'fc', ['x', `c${count - 1}`], ['y']),
          tensorField(5, 'c', Float32Array.of(1, 2), [1, 2]),
          ...[valueField(11, 'x', ['n', 1]), valueField(12, 'y', ['n', 2])],
        ],
        15,
      );
    expect(Array.from(fromOnnx(doubled(20)).state['fc.weight'].data)).toEqual([2 ** 20, 2 ** 21]);
    // deeper than any exporter goes they are nodes like others
    expect(fromOnnx(doubled(60)).unused).toEqual(['c']);
  });
});

test('a node with more inputs than a call takes arguments is read like any other', async () => {
  const inputs = Array.from({ length: 300_000 }, () => 'x');
  const model = writeModel(
    [
      lengthField(2, 'g'),
      nodeField('Sum', 's', inputs, ['y']),
      valueField(11, 'x', ['n', 2]),
      valueField(12, 'y', ['n', 2]),
    ],
    15,
  );
  await expect(loadSequential(model)).rejects.toMatchObject({ code: 'ERR_FORMAT' });
  expect(foldOnnx(model).folded).toEqual([]);
});

describe('attributes of another type than the operator has', () => {
  const tensor = lengthField(5, [integerField(1, 1), integerField(2, 1), lengthField(9, new Uint8Array(4))]);
  const given = {
    'a number': [floatField(2, 1.5), integerField(20, 1)],
    'a text': [lengthField(4, 'NOTSET'), integerField(20, 3)],
    'a tensor': [tensor, integerField(20, 4)],
    'a graph': [lengthField(6, []), integerField(20, 5)],
    'a list of floats': [lengthField(7, new Uint8Array(8)), integerField(20, 6)],
    'a list of integers': [integerField(8, 1), integerField(8, 1), integerField(20, 7)],
    'a list of texts': [lengthField(9, 'x'), integerField(20, 8)],
  };
  const node = (op: string, key: string, value: readonly Uint8Array[], domain = '') =>
    lengthField(1, [
      lengthField(2, 'y'),
      lengthField(3, 'n'),
      lengthField(4, op),
      lengthField(5, [lengthField(1, key), ...value]),
      lengthField(7, domain),
    ]);
  const read = (...node: Uint8Array[]) => readOnnx(writeModel(node, 15)).nodes[0];

  test.each([
    ['Conv', 'pads', 'a list of integers'],
    ['Conv', 'group', 'a number'],
    ['ConvTranspose', 'auto_pad', 'a text'],
    ['Transpose', 'perm', 'a list of integers'],
    ['Gemm', 'transB', 'a number'],
    ['BatchNormalization', 'epsilon', 'a number'],
    ['ReduceMean', 'axes', 'a list of integers'],
    ['LayerNormalization', 'axis', 'a number'],
    ['Gelu', 'approximate', 'a text'],
    ['Upsample', 'scales', 'a list of floats'],
    ['Constant', 'value_ints', 'a list of integers'],
  ])('%s: %s is %s', (op, key, expected) => {
    for (const [kind, value] of Object.entries(given)) {
      for (const fields of [value, value.slice(0, -1)]) {
        // a list of texts without its type is a field that nobody reads
        if (kind === 'a list of texts' && fields !== value) continue;
        const open = () => read(node(op, key, fields));
        if (kind === expected) expect(open().attributes.has(key)).toBe(true);
        else expect(open).toThrow(`ONNX: node 'n' attribute '${key}' expected ${expected}, got ${kind} (offset `);
      }
    }
  });

  test('is anything in other domains and in operators that ONNX does not have', () => {
    for (const value of Object.values(given)) {
      expect(read(node('Conv', 'pads', value, 'com.example')).attributes.has('pads')).toBe(true);
      expect(read(node('EfficientNMS_TRT', 'axis', value)).attributes.has('axis')).toBe(true);
      expect(read(node('Conv', 'note', value)).attributes.has('note')).toBe(true);
    }
    expect(() => read(node('Conv', 'pads', given['a text'], 'ai.onnx'))).toThrow("attribute 'pads' expected a list");
  });

  test('Cast names its type by a text or a number, as its version has it', () => {
    expect(read(node('Cast', 'to', given['a text'])).attributes.get('to')).toBe('NOTSET');
    expect(read(node('Cast', 'to', given['a number'])).attributes.get('to')).toBe(1.5);
    expect(() => read(node('Cast', 'to', given['a tensor']))).toThrow('expected a number or a text, got a tensor');
  });
});

test.each([-(2 ** 53), -(2 ** 31), -65, 0.5])('a norm whose axis is %d has no known shape', (axis) => {
  const scale = tensorField(5, 'g', new Float32Array(2), [2]);
  const node = nodeField('RMSNormalization', 'n', ['x', 'g'], ['y'], { axis: { float: axis } });
  for (const rank of [[], [lengthField(11, [lengthField(1, 'x')])], [valueField(11, 'x', ['batch', 2])]]) {
    const [stateless] = statelessNormsOf(readOnnx(writeModel([node, scale, ...rank], 23)));
    expect(stateless.problem).toMatch(/^axis -?[\d.]+ of an input of (?:unknown )?rank/);
  }
});

describe('a group norm in several nodes, as PyTorch writes it before version 18', () => {
  const vector = (length: number, seed: number) =>
    Float32Array.from({ length }, (_, i) => 0.5 + Math.sin(i * 1.7 + seed));
  const [gamma, beta] = [vector(6, 1), vector(6, 2)];
  /** Two of them, one behind the other: shapes as a constant, or worked out by the model. */
  const model = ({ scale = 1, dynamic = true, affine = true, taken = false, start = false } = {}) => {
    const norm = (x: string, y: string, name: string) => [
      nodeField('Reshape', `${name}.split`, [x, 'groups'], [`${name}.s`]),
      nodeField('InstanceNormalization', `${name}.in`, [`${name}.s`, 'ones', 'zeros'], [`${name}.i`], {
        epsilon: { float: 1e-3 },
      }),
      ...(dynamic ? [nodeField('Shape', `${name}.shape`, [x], [`${name}.n`], start ? { start: 1 } : {})] : []),
      nodeField('Reshape', `${name}.join`, [`${name}.i`, dynamic ? `${name}.n` : 'whole'], [affine ? `${name}.j` : y]),
      ...(affine
        ? [
            nodeField('Mul', `${name}.mul`, [`${name}.j`, `${name}.weight`], [`${name}.m`]),
            nodeField('Add', `${name}.add`, [`${name}.m`, `${name}.bias`], [y]),
          ]
        : []),
    ];
    const weights = (name: string) => [
      tensorField(5, `${name}.weight`, gamma, [6, 1, 1]),
      tensorField(5, `${name}.bias`, beta, [6, 1, 1]),
    ];
    return writeModel(
      [
        ...norm('x', 'a', 'gn1'),
        nodeField('Relu', 'relu', ['a'], ['b']),
        ...norm('b', 'y', 'gn2'),
        tensorField(5, 'groups', [0, 3, -1], [3], 'I64'),
        tensorField(5, 'whole', [0, 6, 4, 5], [4], 'I64'),
        tensorField(5, 'ones', new Float32Array(3).fill(scale), [3]),
        tensorField(5, 'zeros', new Float32Array(3), [3]),
        ...(affine ? [...weights('gn1'), ...weights('gn2')] : []),
        valueField(11, 'x', ['n', 6, 4, 5]),
        valueField(12, 'y', ['n', 6, 4, 5]),
        ...(taken ? [valueField(12, 'gn1.i', ['n', 3, 40])] : []),
      ],
      13,
    );
  };
  const x = { data: Float32Array.from({ length: 240 }, (_, i) => Math.sin(i * i) * 3 + (i % 7)), shape: [2, 6, 4, 5] };

  test.each([
    [true, true],
    [false, true],
    [true, false],
  ])('shape worked out: %s, scale and bias: %s', async (dynamic, affine) => {
    const bytes = model({ dynamic, affine });
    const count = 3 + Number(dynamic) + 2 * Number(affine);
    const names = affine ? ['gn1', 'gn2'] : ['gn1.join', 'gn2.join'];
    expect(strangeNorms(readOnnx(bytes))).toEqual(names.map((name) => `GroupNorm ${name} (in ${count} nodes)`));
    const one = () => new GroupNorm(3, 6, { eps: 1e-3, affine });
    const net = new Sequential(one(), new ReLU(), one()).eval();
    if (affine) {
      const { state, unused } = fromOnnx(bytes, { layer: net, rename: { gn1: '0', gn2: '2' } });
      expect(unused).toEqual(dynamic ? ['groups', 'whole'] : ['groups', 'whole']);
      expect(Array.from(state['0.gamma'].data)).toEqual(Array.from(gamma));
      net.loadStateDict(state);
    }
    const loaded = await loadSequential(bytes);
    expect(loaded.forward(x).data).toEqual(net.forward(x).data);
  });

  test('is none where anything else is done', async () => {
    const refused = async (bytes: Uint8Array, message: RegExp) =>
      await expect(loadSequential(bytes)).rejects.toThrow(message);
    expect(strangeNorms(readOnnx(model({ scale: 2 })))[0]).toBe('InstanceNormalization gn1.in');
    expect(strangeNorms(readOnnx(model({ start: true })))[0]).toBe('InstanceNormalization gn1.in');
    const { layers } = await loadSequential(model({ scale: 2 }));
    expect(layers.slice(0, 3).map(({ subject }) => subject)).toEqual([
      'Reshape([3, 40])',
      'InstanceNorm1d(3)',
      'Reshape([6, 4, 5])',
    ]);
    await refused(model({ start: true }), /Reshape|Shape/);
    expect(strangeNorms(readOnnx(model({ taken: true })))[0]).toBe('InstanceNormalization gn1.in');
  });
});
