// The same call on one thread and on several: every kernel whose calls are cut, and layers that
// are large enough, with odd sizes about the borders of the parts. The fixed build gives the same
// bits.

import { type Layer, type Sequential, setThreads, Tensor, type TensorLike, tensor } from '../../src/index.ts';
import { backend } from '../../src/kernels/backend.ts';
import { windowBlocks } from '../../src/kernels/conv/windows.ts';
import { WORTHWHILE, WORTHWHILE_PRODUCT } from '../../src/kernels/part.ts';
import { isVector, type Sizes, type Vector } from '../../src/kernels/row.ts';
import { KERNEL_NAMES, type KernelName, rowOf, withAll } from '../../src/kernels/table.ts';
import { Dice } from './dice.ts';
import type { Fuzzer } from './fuzzer.ts';
import { countOf } from './stateful/calls.ts';
import { build, type Subject, write } from './stateful/subjects.ts';
import { firstOther } from './stateful/truth.ts';

/** Cases between two changes of the number of threads. */
const BLOCK = 100;

/** Values to take others from: making them takes longer than the calls. */
const POOL = new Dice(1).normals(1 << 20, 0.3, 1.5);

function fromPool(dice: Dice, length: number): Float32Array {
  const from = dice.below(POOL.length);
  if (from + length <= POOL.length) return POOL.slice(from, from + length);
  return Float32Array.from({ length }, (_, i) => POOL[(from + i) % POOL.length]);
}

/** `least` to thrice as much, in factors of which one has to be found. */
function rest(dice: Dice, least: number, others: number): number {
  return Math.max(1, Math.ceil((least * (1 + 2 * dice.uniform() ** 2)) / others) + dice.below(5));
}

/** Runs on one thread what may otherwise run on several. */
function alone<T>(work: () => T): T {
  const current = withAll(backend());
  const { parallel } = current;
  current.parallel = current.kernels;
  try {
    return work();
  } finally {
    current.parallel = parallel;
  }
}

/**
 * Arguments of kernels that work by tables: test/backends/threads.test.ts cuts those, at sizes of
 * its own.
 */
const TABLES = ['windows', 'taps', 'toWidth', 'order'];
const CUT = KERNEL_NAMES.filter((name) => {
  const { split, args } = rowOf(name);
  return split && !args.some((arg) => TABLES.includes(arg.name));
});

function sizesFor(name: KernelName, dice: Dice): Sizes {
  const names = rowOf(name).args.map((arg) => arg.name);
  const has = (size: string) => names.includes(size);
  if (has('size')) return { size: rest(dice, WORTHWHILE, 1) };
  if (has('block')) {
    const [height, width] = [dice.between(1, 12), dice.between(1, 12)];
    const [depth, cols] = [4 * dice.between(1, 10), 8 * dice.between(2, 9)];
    const samples = rest(dice, WORTHWHILE_PRODUCT >> 3, height * width * depth * cols);
    const [top, left, pixel] = [dice.below(2), dice.below(2), cols + 8 * dice.below(2)];
    const image = { samples, height, width, depth, outHeight: height, outWidth: width, cols, top, left };
    return { ...image, ...windowBlocks(image), pixel };
  }
  if (has('inner')) {
    const [outer, channels] = [dice.between(1, 4), dice.between(1, 70)];
    const inner = rest(dice, WORTHWHILE, outer * channels);
    const stride = channels * inner + dice.below(4);
    return { outer, channels, inner, stride, sampleStep: inner, channelStep: 0 };
  }
  if (has('depth')) {
    const [depth, cols] = [dice.between(1, 90), dice.between(1, 70)];
    const rows = rest(dice, WORTHWHILE_PRODUCT, depth * cols);
    return { rows, depth, cols, rowStride: depth + dice.below(2), depthStride: 1 };
  }
  const cols = dice.oneIn(3) ? dice.between(1, 2100) : dice.between(1, 70);
  const rows = rest(dice, WORTHWHILE, cols);
  const segment = dice.of([32, 64, 384]);
  const stride = cols + (has('stride') ? dice.below(4) : 0);
  return { rows, channels: cols, cols, stride, segment, segments: Math.ceil(rows / segment) };
}

const PARAMETERS: Record<string, (dice: Dice) => number> = {
  kind: (dice) => dice.below(14),
  alpha: () => 0.25,
  eps: () => 1e-5,
  low: (dice) => dice.of([0, -1, -Infinity]),
  high: (dice) => dice.of([1, 6, Infinity]),
};

/** One kernel's call, whole and in parts. */
function kernelCase(dice: Dice): string | undefined {
  const name = dice.of(CUT);
  const { args } = rowOf(name);
  const sizes = sizesFor(name, dice);
  const { heap, kernels, parallel } = withAll(backend());
  const places = new Map<Vector, { at: number; values: Float32Array | undefined }>();
  const aliased = dice.oneIn(3);
  const held: number[] = [];
  const given: number[] = [];
  for (const arg of args) {
    if (!isVector(arg)) {
      given.push(sizes[arg.name] ?? PARAMETERS[arg.name]?.(dice) ?? dice.below(2));
      continue;
    }
    const over = [...places.keys()].find((input) => aliased && input.name === arg.alias?.[0]);
    if (over && places.get(over)!.at) {
      given.push(places.get(over)!.at);
      places.set(arg, { at: places.get(over)!.at, values: undefined });
      continue;
    }
    if (arg.optional && dice.oneIn(2)) {
      given.push(0);
      continue;
    }
    const length = arg.length(sizes);
    const at = heap.alloc(length * (arg.type === 'f64' ? 8 : 4));
    held.push(at);
    places.set(arg, { at, values: arg.type === 'f32' ? fromPool(dice, length) : undefined });
    given.push(at);
  }
  const fill = () => {
    for (const [arg, { at, values }] of places) {
      if (values) heap.f32.set(values, at >>> 2);
      else if (arg.type === 'f64') heap.f64.fill(7, at >>> 3, (at >>> 3) + arg.length(sizes));
    }
  };
  const outputs = () =>
    [...places].flatMap(([arg, { at }]) => {
      if (arg.access === 'read' || arg.access === 'scratch') return [];
      const length = arg.length(sizes);
      return [
        arg.type === 'f64'
          ? heap.f64.slice(at >>> 3, (at >>> 3) + length)
          : heap.f32.slice(at >>> 2, (at >>> 2) + length),
      ];
    });
  fill();
  kernels[name](...given);
  const expected = outputs();
  fill();
  parallel[name](...given);
  const wrong = apart(expected, outputs());
  for (const at of held) heap.free(at);
  return wrong && `${name} ${JSON.stringify(sizes)}: ${wrong}`;
}

/** A layer whose calls are large, and a shape that makes them so. */
function largeLayer(dice: Dice): { subject: Subject; shape: number[] } {
  const layout = dice.of(['channels-first', 'channels-last']);
  const activation = dice.oneIn(3) ? dice.of(['relu', 'tanh', 'gelu', 'silu']) : undefined;
  const channels = dice.oneIn(3) ? dice.between(1, 9) : dice.between(1, 130);
  const samples = dice.between(1, 5);
  const subject = (kind: string, args: unknown[]): Subject => ({ kind, args, channels, ranks: [2, 5] });
  const planes = () => {
    const inner = rest(dice, WORTHWHILE, samples * channels);
    return layout === 'channels-first' ? [samples, channels, inner] : [samples, inner, channels];
  };
  switch (dice.below(9)) {
    case 0:
    case 1:
      return { subject: subject('BatchNorm', [channels, { layout, activation }]), shape: planes() };
    case 2:
      return {
        subject: subject('BatchRenorm', [channels, { layout, rMax: 3, dMax: 5, virtualBatchSize: 2 }]),
        shape: planes(),
      };
    case 3: {
      const groups = dice.of([1, 2, 3, channels].filter((count) => channels % count === 0));
      return { subject: subject('GroupNorm', [groups, channels, { layout, activation }]), shape: planes() };
    }
    case 4:
      return {
        subject: subject('InstanceNorm1d', [channels, { layout, affine: true, trackRunningStats: true }]),
        shape: planes(),
      };
    case 5:
    case 6: {
      const width = dice.of([1, 3, 5, 31, 64, 257, 768, 1023]);
      const kind = dice.of(['LayerNorm', 'RMSNorm']);
      return { subject: subject(kind, [width, { activation }]), shape: [rest(dice, WORTHWHILE, width), width] };
    }
    case 7: {
      const to = dice.between(1, 90);
      const linear = subject('Linear', [channels, to, { seed: 1 }]);
      const shape = [rest(dice, WORTHWHILE_PRODUCT, channels * to), channels];
      if (dice.oneIn(2)) return { subject: linear, shape };
      const layers = [
        linear,
        subject('BatchNorm1d', [to, {}]),
        subject('ActivationLayer', ['relu']),
        subject('LayerNorm', [to, {}]),
      ];
      return { subject: { ...subject('Sequential', []), layers }, shape };
    }
    default: {
      if (dice.oneIn(2))
        return {
          subject: subject('ActivationLayer', [dice.of(['tanh', 'gelu', 'elu'])]),
          shape: [rest(dice, WORTHWHILE, 1)],
        };
      const kind = dice.of(['BNLSTMCell', 'BNGRUCell']);
      const hidden = dice.between(8, 40);
      const rows = Math.ceil(rest(dice, WORTHWHILE_PRODUCT, 12 * hidden * 4) / 3);
      return { subject: subject(kind, [12, hidden, { maxSteps: 3, seed: 1 }]), shape: [rows, 3, 12] };
    }
  }
}

/** Everything that comes of a layer's calls. */
function outcome(
  subject: Subject,
  shape: number[],
  x: TensorLike,
  dyOf: (size: number) => Float32Array,
  options: object,
): Float32Array[] {
  const layer = build(subject);
  const results: Float32Array[] = [];
  const take = (output: TensorLike) => {
    results.push(output.data.slice());
    if (output instanceof Tensor) output.dispose();
  };
  take(layer.forward(x, options));
  const out = [...layer.outputShape(shape)];
  const dy = tensor(dyOf(countOf(out)), out);
  take(layer.backward(dy));
  dy.dispose();
  results.push(...layer.parameters().map(({ grad }) => grad.slice()));
  results.push(...Object.values(layer.stateDict()).map(({ data }) => Float32Array.from(data as Float32Array)));
  layer.eval();
  take(layer.forward(x));
  if (subject.kind === 'Sequential' && !subject.layers!.some(({ kind }) => kind === 'LayerNorm')) {
    const compiled = (layer as Layer as Sequential).compile();
    take(compiled(x));
    compiled.dispose();
  }
  layer.dispose();
  return results;
}

function layerCase(dice: Dice): string | undefined {
  const { subject, shape } = largeLayer(dice);
  const values = fromPool(dice, countOf(shape));
  const seed = dice.seed();
  const dyOf = (size: number) => fromPool(new Dice(seed), size);
  const options: Record<string, unknown> = {};
  if (/^Batch(Norm|Renorm)$/.test(subject.kind) && dice.oneIn(4)) {
    const last = shape.length - 1;
    const axis = (subject.args[1] as { layout: string }).layout === 'channels-last' ? last : 1;
    const short = shape.filter((_, i) => i !== axis);
    options.mask = {
      data: Float32Array.from({ length: countOf(short) }, (_, i) => (i % 7 === 3 ? 0 : 1)),
      shape: short,
    };
  }
  const x = dice.oneIn(4) ? { data: values, shape } : tensor(values, shape);
  try {
    const expected = alone(() => outcome(subject, shape, x, dyOf, options));
    const wrong = apart(expected, outcome(subject, shape, x, dyOf, options));
    return wrong && `${write(subject)} on [${shape}]${options.mask ? ', masked' : ''}: ${wrong}`;
  } finally {
    if ('dispose' in x) x.dispose();
  }
}

function apart(expected: readonly ArrayLike<number>[], got: readonly ArrayLike<number>[]): string | undefined {
  for (const [i, values] of expected.entries()) {
    const other = firstOther(got[i], values);
    if (other) return `output ${i}${other} on one thread`;
  }
  return undefined;
}

/** The case of a seed, on as many threads as there are now. */
export function threadCase(seed: number): string | undefined {
  const dice = new Dice(seed);
  return dice.oneIn(2) ? kernelCase(dice) : layerCase(dice);
}

export const threads: Fuzzer = {
  about: 'large calls on one thread and on two or three, bit for bit',
  env: { EVENKEEL_BACKEND: 'simd' },
  prepare() {
    let count = 0;
    return {
      of: 'large calls',
      run(seed) {
        const wanted = Math.floor(seed / BLOCK) % 2 ? 3 : 2;
        if (wanted !== count) count = setThreads(wanted);
        if (count !== wanted) return `${wanted} threads were asked for, and there are ${count}`;
        const wrong = threadCase(seed);
        return wrong && `${count} threads: ${wrong}`;
      },
    };
  },
};
