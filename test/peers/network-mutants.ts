// Networks that onnxruntime runs, with operators put in, changed and taken out at random: what
// loadNetwork makes of them has to give onnxruntime's results, or to be refused by name.
//
//     node --import ./scripts/typescript.mjs test/peers/network-mutants.ts
//         [--count 100000] [--seed N] [--time SECONDS]
//
// Counted are mutants that onnxruntime accepts. They run in processes of their own, since
// onnxruntime ends some with a signal: the next one goes on with other mutants. By hand: the peer
// is 400 MB (npm run test:peers installs it).

import { fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { WritableAttribute } from '../../src/formats/onnx-write.ts';
import { Random } from '../../src/index.ts';
import { load } from '../../src/infer/list.ts';
import { loadNetwork } from '../../src/weights/index.ts';
import { EVERY_GROUP, type Plain } from '../support/networks.ts';
import { type Model, type Tensor, written } from './changeable-model.ts';

const { values: given } = parseArgs({
  options: {
    count: { type: 'string' },
    seed: { type: 'string' },
    time: { type: 'string' },
    part: { type: 'boolean' },
  },
});
const COUNT = Number(given.count ?? 100_000);
const SEED = Number(given.seed ?? Date.now() % 1e9);
const SECONDS = Number(given.time ?? 1e6);
const TOLERANCE = 1e-4;

const random = new Random(SEED);
const below = (n: number) => Math.floor(random.uniform() * n);
const pick = <T>(list: readonly T[]): T => list[below(list.length)];
const chance = (p: number) => random.uniform() < p;

interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(
    feeds: object,
  ): Promise<Record<string, { data: ArrayLike<number | bigint | boolean>; dims: readonly number[]; type: string }>>;
  release(): Promise<void>;
}
const ort: {
  InferenceSession: { create(bytes: Uint8Array, options: object): Promise<Session> };
  Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => object;
} = createRequire(new URL('../../bench/peers/package.json', import.meta.url))('onnxruntime-node');

/** A network that grows: values, and of which rank they are thought to be. */
class Growing {
  readonly model: Model;
  readonly ranks = new Map<string, number>();
  #names = 0;

  constructor(model: Model) {
    this.model = model;
  }

  name = () => `v${this.#names++}`;

  tensor(data: readonly number[], shape: readonly number[], dtype = 'F32'): string {
    const name = this.name();
    const tensor: Tensor = { data: [...data], shape: [...shape], dtype };
    this.model.tensors.set(name, tensor);
    return name;
  }

  ints = (...data: number[]) => this.tensor(data, [data.length], 'I64');

  floats(shape: readonly number[], least = -2): string {
    const size = shape.reduce((a, b) => a * b, 1);
    const value = () => (least > 0 ? least + random.uniform() : random.normal());
    return this.tensor(
      Array.from({ length: size }, () => Math.fround(value())),
      shape,
    );
  }

  node(
    op: string,
    inputs: readonly string[],
    rank: number,
    attributes: Record<string, WritableAttribute> = {},
    outputs = 1,
  ): string {
    const names = Array.from({ length: outputs }, this.name);
    this.model.nodes.push({ op, name: '', inputs: [...inputs], outputs: names, attributes });
    for (const one of names) this.ranks.set(one, rank);
    return pick(names);
  }

  any = () => pick([...this.ranks.keys()]);
  rankOf = (value: string) => this.ranks.get(value)!;
}

const UNARY = [
  ...['Relu', 'Sigmoid', 'Tanh', 'Softplus', 'HardSigmoid', 'Elu', 'LeakyRelu', 'Selu', 'Softsign', 'Identity', 'Neg'],
  ...['Abs', 'Exp', 'Erf', 'Sin', 'Cos', 'Floor', 'Ceil', 'Round', 'Sign', 'HardSwish', 'Mish', 'Gelu', 'Celu'],
  ...['ThresholdedRelu', 'Shrink', 'Reciprocal', 'Sqrt', 'Log', 'Atan', 'Sinh', 'Clip', 'Dropout', 'Softmax'],
  ...['LogSoftmax', 'Hardmax', 'LpNormalization', 'Flatten', 'GlobalAveragePool', 'GlobalMaxPool'],
];
const REDUCE = ['Mean', 'Sum', 'Max', 'Min', 'Prod', 'L1', 'L2', 'SumSquare', 'LogSumExp'];
const COMPARE = ['Equal', 'Less', 'Greater', 'LessOrEqual', 'GreaterOrEqual'];
const some = <T extends Record<string, WritableAttribute>>(all: T): Record<string, WritableAttribute> =>
  Object.fromEntries(Object.entries(all).filter(() => chance(0.6)));
const float = (...values: number[]) => ({ float: pick(values) });
const between = (least: number, most: number) => least + below(most - least + 1);
const list = (count: number, make: () => number) => Array.from({ length: count }, make);

/** Ways to put one operator more behind a value. */
const WAYS: readonly ((g: Growing, x: string, rank: number) => void)[] = [
  (g, x, rank) =>
    g.node(
      pick(UNARY),
      [x],
      rank,
      some({ alpha: float(0.1, 0.5, 1), axis: between(-rank, rank - 1), lambd: float(0.3) }),
    ),
  (g, x, rank) => {
    const other = chance(0.4)
      ? g.any()
      : g.floats(
          list(between(0, rank), () => pick([1, 1, 2, 3, 4])),
          pick([-2, 0.5]),
        );
    const inputs = chance(0.5) ? [x, other] : [other, x];
    g.node(pick(['Add', 'Sub', 'Mul', 'Div', 'Max', 'Min', 'Pow', 'PRelu', 'Sum', 'Mean']), inputs, rank);
  },
  (g, x, rank) => {
    const axes = g.ints(...new Set(list(between(1, 2), () => between(-rank, -1))));
    const op = `Reduce${pick(REDUCE)}`;
    const keepdims = pick([0, 1]);
    g.node(op, chance(0.8) ? [x, axes] : [x], keepdims ? rank : Math.max(rank - 1, 0), { keepdims });
  },
  (g, x, rank) => {
    const order = Array.from({ length: rank }, (_, i) => i).sort(() => random.uniform() - 0.5);
    g.node('Transpose', [x], rank, { perm: chance(0.3) && rank === 4 ? [0, 2, 3, 1] : order });
  },
  (g, x) => {
    const lengths = pick([[0, -1], [-1], [0, 0, -1], [1, -1, 2], [0, 2, -1], [0, -1, 1, 1]]);
    g.node('Reshape', [x, g.ints(...lengths)], lengths.length);
  },
  (g, x, rank) => {
    const axis = between(0, rank);
    const wide = g.node('Unsqueeze', [x, g.ints(axis)], rank + 1);
    if (chance(0.6)) g.node('Squeeze', [wide, g.ints(pick([axis, 0, -1]))], rank);
  },
  (g, x, rank) => {
    const axes = [...new Set(list(between(1, 2), () => between(0, rank - 1)))];
    const [starts, ends] = [axes.map(() => between(-2, 1)), axes.map(() => pick([1000, 2 ** 31 - 1, -1]))];
    const steps = axes.map(() => pick([1, 1, 1, 2]));
    if (chance(0.2)) return void g.node('Slice', [x, g.ints(-1), g.ints(-1000), g.ints(axes[0]), g.ints(-1)], rank);
    g.node('Slice', [x, g.ints(...starts), g.ints(...ends), g.ints(...axes), g.ints(...steps)], rank);
  },
  (g, x, rank) => {
    const parts = between(2, 3);
    const axis = between(-rank, rank - 1);
    g.node('Split', [x], rank, { axis, ...(g.model.opset >= 18 && { num_outputs: parts }) }, parts);
  },
  (g, x, rank) => g.node('Concat', [x, chance(0.5) ? x : g.any()], rank, { axis: between(-rank, rank - 1) }),
  (g, x, rank) => {
    const pads = list(2 * rank, () => pick([0, 0, 1, 2, -1]));
    const value = chance(0.5) ? [g.tensor([pick([0, 1, -3])], [])] : [];
    g.node('Pad', [x, g.ints(...pads), ...value], rank, some({ mode: pick(['constant', 'reflect', 'edge']) }));
  },
  (g, x, rank) => {
    const scales = g.tensor([1, 1, ...list(rank - 2, () => pick([1, 2, 0.5, 1.5, 3]))], [rank]);
    const mode = pick(['nearest', 'linear', 'cubic']);
    // align_corners is left out: where lengths are cut to whole ones onnxruntime differs from
    // ONNX' own tests
    const coordinate = pick(['half_pixel', 'pytorch_half_pixel', 'asymmetric']);
    const nearest = pick(['round_prefer_floor', 'floor', 'ceil', 'round_prefer_ceil']);
    const attributes = some({ mode, nearest_mode: nearest, coordinate_transformation_mode: coordinate });
    g.node('Resize', [x, '', scales], rank, attributes);
  },
  (g, x, rank) => {
    const axes = Math.max(rank - 2, 1);
    const kernel = list(axes, () => between(1, 3));
    const op = pick(['MaxPool', 'AveragePool', 'MaxPool', 'LpPool']);
    const auto = chance(0.4);
    const more = some({
      strides: list(axes, () => between(1, 2)),
      ...(auto
        ? { auto_pad: pick(['SAME_UPPER', 'VALID', 'SAME_LOWER']) }
        : { pads: list(2 * axes, () => pick([0, 0, 1])) }),
      ceil_mode: auto ? 0 : pick([0, 1]),
      ...(op === 'AveragePool' ? { count_include_pad: pick([0, 1]) } : {}),
      ...(op === 'MaxPool' && !auto ? { dilations: list(axes, () => between(1, 2)) } : {}),
    });
    if (op === 'LpPool') delete more.ceil_mode;
    g.node(op, [x], rank, { kernel_shape: kernel, ...more });
  },
  (g, x, rank) => {
    const axes = Math.max(rank - 2, 1);
    const [channels, group] = pick([
      [4, 1],
      [4, 2],
      [4, 4],
      [3, 1],
      [2, 1],
      [6, 3],
    ]);
    const out = group * between(1, 2);
    const kernel = list(axes, () => between(1, 3));
    const isBack = chance(0.3);
    const weight = g.floats(isBack ? [channels, out / group, ...kernel] : [out, channels / group, ...kernel]);
    const inputs = [x, weight, ...(chance(0.6) ? [g.floats([out])] : [])];
    const attributes = some({
      strides: list(axes, () => between(1, 2)),
      pads: list(2 * axes, () => between(0, 1)),
      dilations: list(axes, () => between(1, 2)),
      ...(isBack && { output_padding: list(axes, () => pick([0, 0, 1])) }),
    });
    g.node(isBack ? 'ConvTranspose' : 'Conv', inputs, rank, { ...attributes, group });
  },
  (g, x, rank) => {
    const c = pick([2, 3, 4, 6]);
    const own = [g.floats([c], 0.5), g.floats([c]), g.floats([c]), g.floats([c], 0.3)];
    const op = pick(['BatchNormalization', 'BatchNormalization', 'InstanceNormalization', 'LayerNormalization']);
    if (op === 'BatchNormalization') g.node(op, [x, ...own], rank, some({ epsilon: float(1e-3) }));
    else if (op === 'InstanceNormalization') g.node(op, [x, own[0], own[1]], rank);
    else g.node(op, [x, ...own.slice(0, between(1, 2))], rank, { axis: -1 });
  },
  (g, x, rank) => {
    const [k, n] = [pick([2, 3, 4, 5]), pick([1, 2, 3, 4])];
    if (chance(0.5)) g.node('MatMul', [x, chance(0.6) ? g.floats([k, n]) : g.any()], rank);
    else {
      const attributes = some({ transB: 1, alpha: float(0.5, 2), beta: float(0, 0.5), transA: pick([0, 0, 1]) });
      g.node(
        'Gemm',
        [x, g.floats([k, k]), ...(chance(0.7) ? [g.floats(pick([[k], [1], [1, k], []]))] : [])],
        2,
        attributes,
      );
    }
  },
  (g, x, rank) => {
    const mark = g.node(pick(COMPARE), [x, chance(0.5) ? g.any() : g.tensor([0.1], [])], rank);
    const choice = chance(0.3) ? g.node('Not', [mark], rank) : mark;
    if (chance(0.7)) g.node('Where', [choice, x, chance(0.5) ? g.any() : g.tensor([0], [1])], rank);
    else g.node('Cast', [choice], rank, { to: 1 });
  },
  (g, x, rank) => {
    const axis = between(-rank, rank - 1);
    const places = pick([[0], [1, 0], [-1], [0, 1, 0, 1]]);
    if (chance(0.3)) g.node('Gather', [x, g.tensor([pick([0, 1, -1])], [], 'I64')], rank - 1, { axis });
    else g.node('Gather', [x, g.ints(...places)], rank, { axis });
  },
  (g, x, rank) => {
    const axis = between(-rank, rank - 1);
    const keepdims = pick([0, 1]);
    const place = g.node(
      pick(['ArgMax', 'ArgMin']),
      [x],
      keepdims ? rank : rank - 1,
      some({ axis, keepdims, select_last_index: pick([0, 1]) }),
    );
    g.node('Cast', [place], g.rankOf(place), { to: 1 });
  },
  (g, x, rank) =>
    g.node(
      'TopK',
      [x, g.ints(between(1, 3))],
      rank,
      some({ axis: between(-rank, rank - 1), largest: pick([0, 1]) }),
      2,
    ),
  (g, x, rank) =>
    g.node(
      'CumSum',
      [x, g.tensor([between(-rank, rank - 1)], [], 'I64')],
      rank,
      some({ exclusive: pick([0, 1]), reverse: pick([0, 1]) }),
    ),
  (g, x, rank) =>
    g.node(
      'Trilu',
      chance(0.5) ? [x] : [x, g.tensor([between(-1, 1)], [], 'I64')],
      rank,
      some({ upper: pick([0, 1]) }),
    ),
  (g, x, rank) => {
    if (chance(0.5)) g.node('Expand', [x, g.ints(...list(rank, () => pick([1, 1, 2, 3])))], rank);
    else g.node('Tile', [x, g.ints(...list(rank, () => pick([1, 1, 2])))], rank);
  },
  // lengths that follow from shapes
  (g, x, rank) => {
    const shape = g.node('Shape', [x], 1);
    const first = g.node('Gather', [shape, g.ints(between(0, rank - 1))], 1, { axis: 0 });
    const to = g.node('Concat', chance(0.5) ? [first, g.ints(-1)] : [g.ints(-1), first], 1, { axis: 0 });
    g.node('Reshape', [x, to], 2);
  },
  (g, x, rank) => {
    const other = g.any();
    const shape = g.node('Shape', [other], 1);
    if (chance(0.5)) g.node('Expand', [x, shape], rank);
    else g.node('Add', [g.node('ConstantOfShape', [shape], g.rankOf(other)), x], rank);
  },
  (g, x, rank) => {
    const to = pick([6, 7]);
    const whole = g.node('Cast', [x], rank, { to });
    // onnxruntime ends the process where it divides whole numbers by 0
    const three = g.tensor([3], [], to === 6 ? 'I32' : 'I64');
    const [op, other] = pick([
      ['Add', whole],
      ['Mul', whole],
      ['Sub', three],
      ['Div', three],
      ['Mod', three],
    ] as const);
    const two = g.node(op, [whole, other], rank);
    g.node('Cast', [chance(0.5) ? whole : two], rank, { to: 1 });
  },
  (g, x, rank) => g.node(pick(['DepthToSpace', 'SpaceToDepth']), [x], rank, { blocksize: 2, ...some({}) }),
  (g, x) =>
    g.node('Einsum', [x, chance(0.5) ? x : g.any()], 2, {
      equation: pick(['ij,kj->ik', 'bij,bkj->bik', 'nchw,nchw->nc', 'nchw,nkhw->nck', '...i,...i->...', 'ij,ij->j']),
    }),
  (g) =>
    g.node(
      'GridSample',
      [pick([...g.model.inputs.keys()]), g.floats([2, 3, 2, 2])],
      4,
      some({
        align_corners: 1,
        mode: pick(['bilinear', 'nearest', 'bicubic']),
        padding_mode: pick(['zeros', 'border', 'reflection']),
      }),
    ),
  (g, x) => {
    const [h, i] = [2, pick([2, 3, 4])];
    const op = pick(['LSTM', 'GRU', 'RNN']);
    const gates = { LSTM: 4, GRU: 3, RNN: 1 }[op as 'LSTM'];
    const direction = pick(['forward', 'reverse', 'bidirectional']);
    const ways = direction === 'bidirectional' ? 2 : 1;
    const inputs = [
      x,
      g.floats([ways, gates * h, i]),
      g.floats([ways, gates * h, h]),
      ...(chance(0.6) ? [g.floats([ways, 2 * gates * h])] : []),
    ];
    const more = op === 'GRU' ? some({ linear_before_reset: 1 }) : {};
    g.node(op, inputs, 4, { hidden_size: h, direction, ...more });
  },
  (g, x, rank) => {
    const c = g.floats(pick([[], [1], [1, 1], [4], [3]]), 0.5);
    const scaled = g.node('Mul', [x, c], rank);
    const gate = g.node(pick(['Sigmoid', 'HardSigmoid', 'Tanh']), [chance(0.5) ? x : scaled], rank);
    g.node('Mul', [x, gate], rank);
  },
  (g, x, rank) => {
    const mean = g.node('ReduceMean', [x, g.ints(...pick([[-1], [1], [2, 3], [-2, -1]]))], rank);
    const d = g.node('Sub', [x, mean], rank);
    const square = g.node('Mul', [d, d], rank);
    const variance = g.node('ReduceMean', [square, g.ints(...pick([[-1], [1], [2, 3]]))], rank);
    g.node('Div', [d, g.node('Sqrt', [g.node('Add', [variance, g.tensor([1e-5], [])], rank)], rank)], rank);
  },
];

const SHAPES: readonly (readonly number[])[] = [
  [2, 3],
  [1, 4],
  [2, 4, 5],
  [1, 3, 4],
  [1, 3, 6, 5],
  [2, 4, 4, 4],
  [1, 2, 7, 6],
  [2, 6, 3, 4],
  [1, 2, 3, 4, 4],
];

/** A network of a few operators, and the shapes that its inputs have in this run. */
function grown(): { model: Model; shapes: Map<string, readonly number[]> } {
  const opset = pick([18, 18, 20, 21]);
  const model: Model = { opset, ir: 9, nodes: [], tensors: new Map(), inputs: new Map(), outputs: [] };
  const g = new Growing(model);
  const shapes = new Map<string, readonly number[]>();
  for (let i = 0; i < (chance(0.2) ? 2 : 1); i++) {
    const shape = pick(SHAPES);
    const name = `x${i}`;
    shapes.set(name, shape);
    // open lengths, of all axes but some
    model.inputs.set(
      name,
      shape.map((length, a) => (chance(0.5) ? length : `${name}_${a}`)),
    );
    g.ranks.set(name, shape.length);
  }
  const count = between(1, 6);
  for (let i = 0; i < count; i++) {
    const values = [...g.ranks.keys()];
    const x = chance(0.6) ? values.at(-1)! : pick(values);
    pick(WAYS)(g, x, Math.max(g.rankOf(x), 1));
  }
  const given = new Set(model.nodes.flatMap(({ inputs }) => inputs));
  const ends = model.nodes.flatMap(({ outputs }) => outputs).filter((name) => !given.has(name));
  model.outputs = chance(0.7) ? [pick(ends)] : [...new Set([pick(ends), pick(ends)])];
  return { model, shapes };
}

const OPTIONS = { logSeverityLevel: 4, graphOptimizationLevel: 'disabled', intraOpNumThreads: 1, interOpNumThreads: 1 };

const counts = { made: 0, accepted: 0, run: 0, refused: 0, notFinite: 0, sensitive: 0, wrong: 0 };
const refusals = new Map<string, number>();
/** Accepted mutants in one process. */
const PART = 5000;

function differs(got: ArrayLike<number>, want: readonly number[]): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let [most, largest] = [0, 1e-3];
  for (let i = 0; i < want.length; i++) {
    if (!(Math.abs(want[i]) < 1e30)) {
      counts.notFinite++;
      return 0;
    }
    const off = Math.abs(got[i] - want[i]);
    if (!(off <= most)) most = off;
    largest = Math.max(largest, Math.abs(want[i]));
  }
  return most / largest;
}

type Results = Awaited<ReturnType<Session['run']>>;

/**
 * Whether onnxruntime's own results vary by more than is allowed here when its inputs do in the
 * last digits: of such a network no rounding can be called wrong.
 */
async function varies(bytes: Uint8Array, xs: Record<string, Plain>, want: Results): Promise<boolean> {
  const session = await ort.InferenceSession.create(bytes, OPTIONS);
  let most = 0;
  for (let i = 0; i < 3; i++) {
    const feeds = Object.entries(xs).map(([name, { data, shape }]) => {
      const near = Float32Array.from(data, (x) => x * (1 + (random.uniform() - 0.5) * 1e-6));
      return [name, new ort.Tensor('float32', near, shape)];
    });
    const results = await session.run(Object.fromEntries(feeds));
    for (const [name, { data }] of Object.entries(results))
      most = Math.max(most, differs(Array.from(data, Number), Array.from(want[name].data, Number)));
  }
  await session.release();
  return most > TOLERANCE / 10;
}

/** Whether onnxruntime has nothing but finite numbers on the way: which NaN is the largest? */
async function hasNumbersAlone(model: Model, xs: Record<string, Plain>): Promise<boolean> {
  for (const name of model.nodes.flatMap(({ outputs }) => outputs)) {
    // outputs are declared as floats: others are refused, and finite
    const bytes = written({ ...model, outputs: [name] }, false);
    const session = await ort.InferenceSession.create(bytes, OPTIONS).catch(() => undefined);
    if (!session) continue;
    const feeds = session.inputNames.map((name) => [name, new ort.Tensor('float32', xs[name].data, xs[name].shape)]);
    const { [name]: result } = await session.run(Object.fromEntries(feeds));
    await session.release();
    if (!Array.from(result.data, Number).every(Number.isFinite)) return false;
  }
  return true;
}

const complaints = new Set<string>();

function complain(what: string, model: Model, shapes: ReadonlyMap<string, readonly number[]>): void {
  counts.wrong++;
  const kind = model.nodes.map(({ op }) => op).join();
  if (complaints.has(kind)) return;
  complaints.add(kind);
  const tensors = [...model.tensors].map(
    ([name, { shape, dtype, data }]) =>
      `${name} ${dtype}[${shape}]${data.length < 9 ? `=${data.map((v) => +v.toFixed(3))}` : ''}`,
  );
  const nodes = model.nodes.map(
    ({ op, inputs, outputs, attributes }) => `${op}(${inputs}) ${JSON.stringify(attributes)} → ${outputs}`,
  );
  console.log(
    `WRONG ${what}\n  opset ${model.opset}, inputs ${JSON.stringify([...model.inputs])} as ${JSON.stringify([...shapes])}, outputs ${model.outputs}`,
  );
  console.log(`  ${nodes.join('\n  ')}\n  ${tensors.join(', ')}`);
}

async function check({ model, shapes }: ReturnType<typeof grown>): Promise<void> {
  counts.made++;
  const bytes = written(model, false);
  const feeds: Record<string, object> = {};
  const xs: Record<string, Plain> = {};
  let session: Session | undefined;
  let want: Results;
  try {
    session = await ort.InferenceSession.create(bytes, OPTIONS);
    for (const name of session.inputNames) {
      const shape = [...shapes.get(name)!];
      const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
      xs[name] = { data, shape };
      feeds[name] = new ort.Tensor('float32', data, shape);
    }
    want = await session.run(feeds);
  } catch {
    await session?.release();
    return;
  }
  await session.release();
  // of nothing onnxruntime makes reductions of other shapes than ONNX says
  if (Object.values(want).some(({ dims }) => dims.includes(0))) return;
  counts.accepted++;
  try {
    const net = await loadNetwork(bytes);
    const used = Object.fromEntries(net.inputs.map(({ name }) => [name, xs[name]]));
    const single = net.inputs.length === 1 ? used[net.inputs[0].name] : used;
    const compiled = net.compile();
    const saved = load(compiled.save(), { operations: EVERY_GROUP });
    let isSensitive: boolean | undefined;
    for (const [form, run] of Object.entries({
      forward: () => net.forward(single as never),
      compiled: () => compiled(single as never),
      saved: () => saved(single as never),
    })) {
      const result = run() as Plain | Record<string, Plain>;
      const isOne = ArrayBuffer.isView((result as Plain).data);
      const named = isOne ? { [net.outputs[0].name]: result as Plain } : (result as Record<string, Plain>);
      for (const name of model.outputs) {
        const expected = want[name];
        const { data, shape } = named[name];
        if (String(shape) !== String(expected.dims))
          complain(`${form}: shape [${shape}], not [${expected.dims}]`, model, shapes);
        const worst = differs(data, Array.from(expected.data, Number));
        if (worst <= TOLERANCE) continue;
        if ((isSensitive ??= await varies(bytes, xs, want))) counts.sensitive++;
        else if (!(await hasNumbersAlone(model, xs))) counts.notFinite++;
        else complain(`${form}: off by ${worst}`, model, shapes);
      }
    }
    counts.run++;
    compiled.dispose();
    saved.dispose();
    net.dispose?.();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (!/^ERR_/.test(code ?? '')) complain(`${(error as Error).stack}`, model, shapes);
    else {
      counts.refused++;
      const kind = message
        .replace(/'[^']*'/g, '…')
        .replace(/-?\d+(\.\d+)?/g, '#')
        .slice(0, 150);
      const count = (refusals.get(kind) ?? 0) + 1;
      refusals.set(kind, count);
      if (count === 1) console.log(`refused: ${message.slice(0, 300)}`);
    }
  }
}

interface Told {
  counts: typeof counts;
  refusals: [string, number][];
}

/** One process after the other; each says after every mutant what it has seen. */
async function inProcesses(): Promise<void> {
  const start = performance.now();
  const seconds = () => Math.round((performance.now() - start) / 1000);
  let ended = 0;
  for (let part = 0; counts.accepted < COUNT && seconds() < SECONDS; part++) {
    const args = ['--part', '--seed', `${SEED + part}`, '--count', `${Math.min(PART, COUNT - counts.accepted)}`];
    const child = fork(fileURLToPath(import.meta.url), [...args, '--time', `${SECONDS - seconds()}`], {
      env: { ...process.env, EVENKEEL_HOOKS: '' }, // hooks for TypeScript are registered anew
    });
    let told: Told | undefined;
    child.on('message', (message) => {
      told = message as Told;
    });
    const signal = await new Promise<string | null>((resolve) => child.on('exit', (_, signal) => resolve(signal)));
    if (!told) throw new Error('a process ended before its first mutant');
    if (signal) ended++;
    for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] += told.counts[key];
    for (const [kind, count] of told.refusals) refusals.set(kind, (refusals.get(kind) ?? 0) + count);
    console.log(`  ${seconds()} s: ${JSON.stringify(counts)}${signal ? `, ended by ${signal}` : ''}`);
  }
  for (const [kind, count] of [...refusals].sort(([, a], [, b]) => b - a)) console.log(`${count} × ${kind}`);
  console.log(`seed ${SEED}, ${seconds()} s: ${JSON.stringify(counts)}; onnxruntime ended ${ended} processes`);
  process.exitCode = counts.wrong ? 1 : 0;
}

async function inThisProcess(): Promise<void> {
  const end = performance.now() + SECONDS * 1000;
  while (counts.accepted < COUNT && performance.now() < end) {
    await check(grown());
    process.send!({ counts, refusals: [...refusals] } satisfies Told);
  }
  process.disconnect();
}

await (given.part ? inThisProcess() : inProcesses());
