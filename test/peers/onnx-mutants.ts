// Models that onnxruntime runs, with their structure changed at random: what evenkeel makes of them
// has to give onnxruntime's results, or to be refused.
//
//     npx tsx test/peers/onnx-mutants.ts [--count 100000] [--seed N] [--time SECONDS]
//
// Counted are mutants that onnxruntime accepts. By hand: the peer is 400 MB (npm run test:peers
// installs it).

import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import type { WritableAttribute } from '../../src/formats/onnx-write.ts';
import { Random } from '../../src/index.ts';
import { foldOnnx, fromOnnx, loadSequential, readOnnx } from '../../src/weights/index.ts';
import { strangeNorms } from '../../src/weights/onnx.ts';
import { fixture, fixturePath, relative } from '../support/weights.ts';
import { type Model, taken, written } from './changeable-model.ts';

const { values: given } = parseArgs({
  options: { count: { type: 'string' }, seed: { type: 'string' }, time: { type: 'string' } },
});
const COUNT = Number(given.count ?? 100_000);
const SEED = Number(given.seed ?? Date.now() % 1e9);
const SECONDS = Number(given.time ?? 1e6);
const TOLERANCE = 1e-4;
const SMALL = 0.05;

const random = new Random(SEED);
const below = (n: number) => Math.floor(random.uniform() * n);
const pick = <T>(list: readonly T[]): T => list[below(list.length)];
const chance = (p: number) => random.uniform() < p;

interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: object): Promise<Record<string, { data: Float32Array; dims: readonly number[] }>>;
  release?(): Promise<void>;
}
const ort: {
  InferenceSession: { create(bytes: Uint8Array, options: object): Promise<Session> };
  Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => object;
} = createRequire(new URL('../../bench/peers/package.json', import.meta.url))('onnxruntime-node');

const OPS = [
  ...['Relu', 'Sigmoid', 'Tanh', 'Softplus', 'HardSigmoid', 'Elu', 'LeakyRelu', 'Selu', 'Softsign', 'Identity', 'Neg'],
  ...['Add', 'Sub', 'Mul', 'Div', 'Max', 'Min', 'Pow', 'MatMul', 'Gemm', 'PRelu', 'Clip', 'Dropout', 'Flatten'],
  ...[
    'Softmax',
    'BatchNormalization',
    'LayerNormalization',
    'InstanceNormalization',
    'ReduceMean',
    'Sqrt',
    'Erf',
    'Abs',
  ],
  ...['Transpose', 'Reshape', 'Squeeze', 'Cast', 'HardSwish', 'Mish', 'Gelu', 'GlobalAveragePool', 'Conv', 'Exp'],
];
const ATTRIBUTES: readonly (readonly [string, () => WritableAttribute])[] = [
  ...['alpha', 'beta', 'gamma', 'epsilon', 'momentum'].map(
    (name) => [name, () => ({ float: pick([0, 0.1, 0.2, 1 / 6, 0.5, 1, 2, -1, 1e-3, 1e-5]) })] as const,
  ),
  ...[
    'transA',
    'transB',
    'axis',
    'keepdims',
    'training_mode',
    'spatial',
    'broadcast',
    'stash_type',
    'group',
    'num_groups',
  ].map((name) => [name, () => pick([0, 1, 2, -1, -2, 3])] as const),
  ['axes', () => pick([[0], [1], [-1], [-2, -1], [1, 2], [2, 3]])],
  [
    'perm',
    () =>
      pick([
        [1, 0],
        [0, 1],
        [0, 2, 1],
        [2, 1, 0],
      ]),
  ],
  [
    'pads',
    () =>
      pick([
        [0, 0, 0, 0],
        [1, 1, 1, 1],
        [1, 0, 0, 1],
      ]),
  ],
  ['approximate', () => pick(['none', 'tanh'])],
  ['to', () => pick([1, 10, 7, 11])],
];

let fresh = 0;

/** One change of a model's structure. */
const MUTATIONS: readonly ((model: Model) => void)[] = [
  // an attribute: another value, another one, none
  ({ nodes }) => {
    const { attributes } = pick(nodes);
    const keys = Object.keys(attributes);
    if (keys.length && chance(0.3)) delete attributes[pick(keys)];
    else {
      const [name, value] =
        chance(0.6) && keys.length
          ? (ATTRIBUTES.find(([key]) => key === pick(keys)) ?? pick(ATTRIBUTES))
          : pick(ATTRIBUTES);
      attributes[name] = value();
    }
  },
  ({ nodes }) => {
    pick(nodes).op = pick(OPS);
  },
  // an input: another value, swapped, doubled, none
  ({ nodes, tensors, inputs }) => {
    const node = pick(nodes);
    if (!node.inputs.length) return;
    const names = [...tensors.keys(), ...inputs.keys(), ...nodes.flatMap(({ outputs }) => outputs)];
    const at = below(node.inputs.length);
    if (chance(0.3)) node.inputs.reverse();
    else if (chance(0.2)) node.inputs.push(pick(names));
    else if (chance(0.15)) node.inputs.pop();
    else node.inputs[at] = pick(names);
  },
  // a node goes: its output is its input
  (model) => {
    const node = pick(model.nodes);
    if (model.nodes.length < 2 || !node.inputs.length) return;
    model.nodes = model.nodes.filter((one) => one !== node);
    const rename = (name: string) => (name === node.outputs[0] ? node.inputs[0] : name);
    for (const one of model.nodes) one.inputs = one.inputs.map(rename);
    model.outputs = model.outputs.map(rename);
  },
  // a node more, behind another one
  ({ nodes, tensors }) => {
    const at = below(nodes.length);
    const before = nodes[at];
    const output = `m${++fresh}`;
    const second = chance(0.5) && tensors.size ? [pick([...tensors.keys()])] : [];
    const value = before.outputs[0];
    const op = pick(OPS);
    nodes.splice(at + 1, 0, { op, name: '', inputs: [`${output}.in`, ...second], outputs: [value], attributes: {} });
    before.outputs[0] = `${output}.in`;
  },
  // a batch norm more, with statistics of its own or those of another one
  ({ nodes, tensors }) => {
    const at = below(nodes.length);
    const before = nodes[at];
    const [value] = before.outputs;
    const id = `m${++fresh}`;
    const old = nodes.find(({ op }) => op === 'BatchNormalization');
    let names = old?.inputs.slice(1) ?? [];
    if (!old || chance(0.7)) {
      const n = pick([2, 3, 4, 5, 6]);
      names = ['g', 'b', 'm', 'v'].map((leaf) => `${id}.${leaf}`);
      for (const [i, name] of names.entries())
        tensors.set(name, {
          data: Array.from({ length: n }, () => (i === 3 ? 0.2 + random.uniform() : random.normal())),
          shape: [n],
          dtype: 'F32',
        });
    }
    nodes.splice(at + 1, 0, {
      op: 'BatchNormalization',
      name: id,
      inputs: [`${id}.in`, ...names],
      outputs: [value],
      attributes: {},
    });
    before.outputs[0] = `${id}.in`;
  },
  // a tensor: another shape of as many values, other values, another type
  ({ tensors }) => {
    if (!tensors.size) return;
    const tensor = pick([...tensors.values()]);
    const n = tensor.data.length;
    const way = below(5);
    if (way === 0) tensor.shape = pick([[n], [1, n], [n, 1], [1, n, 1], [1, n, 1, 1], [n, 1, 1], [1, 1, n]]);
    else if (way === 1) tensor.shape.reverse();
    else if (way === 2 && /^F/.test(tensor.dtype)) tensor.data[below(n)] = pick([0, 1, -1, 6, 1e-3, 100, -0.5]);
    else if (way === 3 && n > 0)
      Object.assign(tensor, { data: tensor.data.slice(0, 1), shape: pick([[], [1], [1, 1]]) });
    else if (tensor.dtype === 'F32') tensor.data = tensor.data.map((value) => value * pick([1, 1, -1, 2]));
  },
  // a tensor behind a node that gives it
  ({ nodes, tensors }) => {
    if (!tensors.size) return;
    const [name, tensor] = pick([...tensors]);
    const id = `m${++fresh}`;
    const rank = tensor.shape.length;
    const isTurned = rank === 2 && chance(0.6);
    tensors.delete(name);
    tensors.set(id, tensor);
    if (isTurned) {
      const [rows, columns] = tensor.shape;
      const { data } = tensor;
      tensor.data = data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)]);
      tensor.shape = [columns, rows];
    }
    const op = isTurned ? 'Transpose' : pick(['Identity', 'Neg', 'Identity']);
    nodes.unshift({ op, name: '', inputs: [id], outputs: [name], attributes: {} });
  },
  // two tensors are one
  ({ nodes, tensors }) => {
    if (tensors.size < 2) return;
    const [from, to] = [pick([...tensors.keys()]), pick([...tensors.keys()])];
    for (const node of nodes) node.inputs = node.inputs.map((name) => (name === from ? to : name));
  },
  (model) => {
    model.opset = pick([7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22]);
  },
  (model) => {
    model.ir = pick([3, 4, 6, 7, 8, 9]);
  },
  ({ inputs }) => {
    const [name, shape] = pick([...inputs]);
    const way = below(3);
    if (way === 0)
      inputs.set(
        name,
        shape.map((length, i) => (i && chance(0.5) ? 'm' : length)),
      );
    else if (way === 1) inputs.set(name, [...shape, pick([2, 3, 4])]);
    else inputs.set(name, [shape[0], pick([2, 3, 4]), ...shape.slice(1)]);
  },
  ({ nodes, outputs }) => {
    if (chance(0.3)) outputs.push(pick(nodes).outputs[0]);
    else outputs[0] = pick(nodes).outputs[0];
  },
];

const copy = (model: Model): Model => structuredClone(model);

async function run(session: Session, feeds: object): Promise<Record<string, ArrayLike<number>> | undefined> {
  const got = await session.run(feeds);
  const values = Object.entries(got).map(([name, { data }]) => [name, data] as const);
  return values.every(([, data]) => data instanceof Float32Array) ? Object.fromEntries(values) : undefined;
}

const OPTIONS = { logSeverityLevel: 4, graphOptimizationLevel: 'disabled', intraOpNumThreads: 1, interOpNumThreads: 1 };

const counts = { made: 0, accepted: 0, loaded: 0, folded: 0, refused: 0, notFinite: 0, wrong: 0 };

function differs(got: ArrayLike<number>, want: ArrayLike<number>): number {
  const finite = Array.from(want).every((value) => Math.abs(value) < 1e30);
  if (!finite) {
    counts.notFinite++;
    return 0;
  }
  // what a Clip leaves of sums that cancel is small: their rounding is not
  const largest = Array.from(want).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return largest === 0 ? relative(got, want) : relative(got, want) * Math.min(1, largest / SMALL);
}

function complain(what: string, model: Model, bytes: Uint8Array): void {
  counts.wrong++;
  console.log(`WRONG ${what}`);
  const shapes = [...model.tensors].map(([name, { shape, dtype }]) => `${name} ${dtype}[${shape}]`);
  const nodes = model.nodes.map(
    ({ op, inputs, outputs, attributes }) => `${op}(${inputs}) ${JSON.stringify(attributes)} → ${outputs}`,
  );
  console.log(`  opset ${model.opset} ir ${model.ir} in ${JSON.stringify([...model.inputs])} out ${model.outputs}`);
  console.log(
    `  ${nodes.join('\n  ')}\n  ${shapes.join(', ')}\n  ${Buffer.from(bytes).toString('base64').slice(0, 120)}`,
  );
}

/** Errors of ours have a code. */
const isRefusal = (error: unknown) => /^ERR_/.test((error as { code?: string }).code ?? '');

async function check(model: Model, bytes: Uint8Array): Promise<void> {
  counts.made++;
  let session: Session;
  let want: Record<string, ArrayLike<number>> | undefined;
  const feeds: Record<string, object> = {};
  const inputs: { data: Float32Array; shape: number[] }[] = [];
  try {
    session = await ort.InferenceSession.create(bytes, OPTIONS);
    for (const name of session.inputNames) {
      const shape = (model.inputs.get(name) ?? []).map((length) =>
        typeof length === 'number' ? length : length === 'n' ? 3 : 4,
      );
      const data = Float32Array.from({ length: shape.reduce((product, n) => product * n, 1) }, () => random.normal());
      inputs.push({ data, shape });
      feeds[name] = new ort.Tensor('float32', data, shape);
    }
    want = await run(session, feeds);
  } catch {
    return;
  }
  if (!want) return;
  counts.accepted++;
  try {
    const parsed = readOnnx(bytes);
    strangeNorms(parsed);
    fromOnnx(parsed);
  } catch (error) {
    if (!isRefusal(error)) complain(`read: ${(error as Error).stack}`, model, bytes);
  }
  let refusals = 0;
  try {
    const { file, folded } = foldOnnx(bytes);
    if (file.length > bytes.length) complain(`folded: ${file.length} bytes of ${bytes.length}`, model, bytes);
    if (folded.length) {
      const again = await ort.InferenceSession.create(file, OPTIONS);
      const got = await run(again, feeds);
      const worst = Math.max(...Object.entries(want).map(([name, data]) => differs(got?.[name] ?? [], data)));
      if (!(worst <= TOLERANCE)) complain(`folded (${folded.map(({ norm }) => norm)}): off by ${worst}`, model, bytes);
      counts.folded++;
      await again.release?.();
    }
  } catch (error) {
    if (isRefusal(error)) refusals++;
    else complain(`fold: ${(error as Error).stack}`, model, bytes);
  }
  try {
    const net = await loadSequential(bytes);
    counts.loaded++;
    const [x] = inputs;
    const worst = differs(net.forward(x).data, Object.values(want)[0]);
    if (!(worst <= TOLERANCE))
      complain(`loaded: off by ${worst}: ${net.layers.map(({ subject }) => subject)}`, model, bytes);
    net.dispose?.();
  } catch (error) {
    if (isRefusal(error)) refusals++;
    else complain(`load: ${(error as Error).stack}`, model, bytes);
  }
  if (refusals) counts.refused++;
  await session.release?.();
}

async function main(): Promise<void> {
  const start = performance.now();
  const names = [
    'torch/net.onnx',
    ...readdirSync(fixturePath('onnx'))
      .filter((name) => name.endsWith('.onnx') && !/outside|old6/.test(name))
      .map((name) => `onnx/${name}`),
  ];
  const seeds = names
    .map((name) => taken(fixture(name)))
    .filter((model) => model !== undefined && model.nodes.length > 0) as Model[];
  console.log(`seed ${SEED}: ${seeds.length} models`);
  let last = start;
  while (counts.accepted < COUNT && performance.now() - start < SECONDS * 1000) {
    const model = copy(pick(seeds));
    const changes = 1 + below(4);
    for (let i = 0; i < changes; i++) if (model.nodes.length) pick(MUTATIONS)(model);
    let bytes: Uint8Array;
    try {
      bytes = written(model, chance(0.3) && model.ir >= 3);
    } catch {
      continue; // values that a type does not hold
    }
    await check(model, bytes);
    if (performance.now() - last > 30_000) {
      last = performance.now();
      console.log(`  ${Math.round((last - start) / 1000)} s: ${JSON.stringify(counts)}`);
    }
  }
  console.log(`seed ${SEED}, ${Math.round((performance.now() - start) / 1000)} s: ${JSON.stringify(counts)}`);
  process.exitCode = counts.wrong ? 1 : 0;
}

void main();
