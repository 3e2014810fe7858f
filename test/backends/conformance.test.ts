// Walks the kernel table: every kernel, on this backend, against its plain loops.

import { describe, expect, test } from 'vitest';
import { NAMES } from '../../src/kernels/activations.ts';
import { backend } from '../../src/kernels/backend.ts';
import { isVector, type Sizes, type Vector } from '../../src/kernels/row.ts';
import { KERNEL_NAMES, type KernelName, rowOf, TWINS, withAll } from '../../src/kernels/table.ts';
import * as js from '../../src/kernels/training/js.ts';
import { Random } from '../../src/nn/random.ts';
import { ends, tableBits, tablesFor } from '../support/conv-tables.ts';
import { allPoolSizes, windowsFor } from '../support/pools.ts';

const U = 2 ** -24;
const GUARD = 4;
const CANARY = 12345.678;

type Array32 = Float32Array | Float64Array;

/**
 * Sizes that matter: around the lane width, the unroll and the blocks of each kernel, with and
 * without gaps between rows.
 */
function sizesFor(name: KernelName): Sizes[] {
  const all: Sizes[] = [];
  const { args } = rowOf(name);
  const has = (size: string) => args.some((arg) => arg.name === size);
  if (has('windows')) {
    // averages know no dilation
    all.push(...allPoolSizes().filter(({ dilationWidth }) => has('dilationWidth') || dilationWidth === 1));
  } else if (has('taps')) {
    // pixels, runs and columns around a tile, a band and a block; windows that overlap, and nine
    // taps in a grid
    for (const count of [1, 2, 3, 4, 5, 9, 66, 130, 515]) {
      for (const [runs, run] of [
        [0, 3],
        [1, 1],
        [1, 4],
        [2, 3],
        [3, 7],
        [5, 2],
        [9, 1],
      ]) {
        if (runs === 0 && name.includes('weights')) continue;
        for (const cols of [1, 3, 4, 5, 8, 9, 12, 15, 16, 19, 24]) {
          if (count > 100 && cols % 4 !== 1) continue;
          const all0 = { count, runs, run, cols, depth: runs * run + Math.ceil(count / 64) };
          all.push({ ...all0, ...ends(tablesFor({ ...all0, run: has('run') ? run : cols })) });
        }
      }
    }
  } else if (name === 'depthwise_rows_nxc_f32') {
    // kernels in registers and others; images that end beside four pixels, and smaller than a
    // window; not all rows
    for (const [kernelHeight, kernelWidth] of [
      [3, 3],
      [5, 5],
      [1, 3],
      [2, 4],
      [4, 1],
    ])
      for (const [strideHeight, strideWidth] of [
        [1, 1],
        [2, 2],
        [1, 3],
      ])
        for (const [height, width] of [
          [1, 1],
          [4, 3],
          [5, 9],
          [3, 23],
        ])
          for (const cols of [1, 4, 7, 12]) {
            const [top, left] = [(kernelHeight - 1) >> (height % 2), (kernelWidth - 1) >> (cols % 2)];
            const outHeight = Math.ceil((height + top) / strideHeight);
            const outWidth = Math.ceil((width + (cols % 3)) / strideWidth);
            const samples = 1 + (width % 2);
            const rows = Math.max(1, samples * outHeight - (cols % 2));
            const image = { rows, samples, height, width, outHeight, outWidth, cols };
            const depth = kernelHeight * kernelWidth;
            all.push({ ...image, kernelHeight, kernelWidth, strideHeight, strideWidth, top, left, depth });
          }
  } else if (name === 'winograd_nxc_f32') {
    // images of odd and even sides, smaller than a window and larger than a block of tiles; parts
    // of a pixel
    for (const [height, width] of [
      [1, 1],
      [2, 3],
      [4, 4],
      [3, 7],
      [6, 5],
      [9, 10],
    ])
      for (const [top, left, after] of [
        [1, 1, 1],
        [0, 2, 2],
        [2, 0, 2],
        [2, 1, 0],
      ])
        for (const [depth, cols] of [
          [4, 8],
          [12, 24],
          [8, 16],
          [20, 8],
        ]) {
          const [outHeight, outWidth] = [height + top + after - 2, width + left + after - 2];
          if (outHeight < 1 || outWidth < 1) continue;
          const [samples, share, block] = [1 + (width % 2), 8 + 8 * (height % 2), 4 * (1 + (depth % 3))];
          const own = { samples, height, width, depth, outHeight, outWidth, cols, pixel: cols + 8 * (left % 2) };
          all.push({ ...own, top, left, share, block });
        }
  } else if (name === 'pad_nxc_f32') {
    for (const first of [0, 1])
      for (const repeat of [1, 2])
        for (const cols of [1, 3, 4, 5, 8, 9])
          for (const width of [1, 3, 4, 6, 9])
            for (const around of [0, 1, 2]) {
              const [depth, height] = [1 + (width % 2), 1 + (cols % 3)];
              const [toDepth, toHeight, toWidth] = [depth + (around >> 1), height + around, width + 2 * around];
              const [front, top, left] = [around >> 1, around >> 1, around];
              const outer = { first, samples: 1 + (cols % 2), cols, repeat, depth, height, width };
              all.push({ ...outer, toDepth, toHeight, toWidth, front, top, left });
            }
  } else if (name === 'sum_runs_f32') {
    for (const count of [1, 2, 5, 9, 17]) for (const run of [1, 2, 3, 4, 7, 8]) all.push({ count, run, depth: run });
  } else if (name === 'decode_bytes_f32') {
    for (let count = 0; count <= 35; count++) all.push({ count });
  } else if (name === 'pixel_table_f32') {
    for (const width of [1, 2, 3, 4, 5, 8, 11])
      for (const step of [0, 1, 3])
        for (const depth of [1, 2])
          for (const height of [1, 3]) {
            const [rowStep, depthStep] = [width * step + 2, height * width * step + 7];
            const steps = { first: 5 * step, sampleStep: depth * depthStep + 1, depthStep, rowStep, step };
            all.push({ samples: 1 + (width % 2), depth, height, width, ...steps });
          }
  } else if (name === 'pack_taps_f32') {
    for (const depth of [1, 2, 3, 5])
      for (const cols of [1, 3, 7, 8, 9, 16, 17])
        for (const panelStride of [depth * 8, depth * 8 + 40])
          all.push(
            { depth, cols, depthStride: 9, colStride: depth * 9, panelStride },
            { depth, cols, depthStride: cols * 3, colStride: 3, panelStride },
          );
  } else if (has('size')) {
    for (let size = 0; size <= 35; size++) all.push({ size });
    all.push({ size: 2048 }, { size: 2051 });
  } else if (has('inner')) {
    const inners = [
      1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, 20, 31, 32, 33, 49, 63, 64, 65, 255, 256, 257, 263, 521,
      2050,
    ];
    for (const inner of inners) {
      for (const [outer, channels, gap] of [
        [1, 1, 0],
        [2, 3, 0],
        [3, 2, 5],
        [5, 3, 0],
      ]) {
        // weights of places, or of every element
        const [sampleStep, channelStep] = inner % 2 ? [inner, 0] : [channels * inner, inner];
        all.push({ outer, channels, inner, stride: channels * inner + gap, sampleStep, channelStep });
      }
    }
  } else if (has('depth')) {
    for (const depth of [0, 1, 2, 3, 4, 5, 7, 8, 17]) {
      for (const cols of [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 24, 25, 26, 31, 32, 33, 41]) {
        if (name === 'pack_f32') {
          const panelStride = depth * 8 + 8 * (cols % 3);
          all.push(
            { depth, cols, depthStride: 1, colStride: depth + 2, panelStride },
            { depth, cols, depthStride: cols + 1, colStride: 1, panelStride },
          );
          all.push({ depth, cols, depthStride: 2, colStride: 2 * depth + 1, panelStride });
        } else {
          for (const rows of [1, 2, 3, 4, 5, 7, 8, 33]) {
            all.push({ rows, depth, cols, rowStride: depth + (cols % 2), depthStride: 1 });
            if (rows < 6) all.push({ rows, depth, cols, rowStride: 1, depthStride: rows + 1 });
          }
        }
      }
    }
  } else if (has('cols')) {
    const least = name === 'column_sums_f32' ? 0 : 1;
    for (const rows of [least, 1, 2, 5, 33])
      for (let cols = 1; cols <= 19; cols++) all.push({ rows, cols, segment: cols % 3 ? 32 : 64 });
    for (const cols of [64, 513, 2050]) all.push({ rows: 3, cols, segment: 32 }, { rows: 70, cols, segment: 64 });
  } else {
    for (const rows of [1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 70]) {
      for (const channels of [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, 20, 23, 31, 32, 33, 37]) {
        const stride = channels + (rows % 2 && has('stride') ? 3 : 0);
        const segment = rows % 3 ? 32 : 64;
        all.push({ rows, channels, stride, segment, segments: Math.ceil(rows / segment) });
      }
    }
  }
  return all;
}

type Flavour = 'ordinary' | 'offset' | 'constant' | 'special';

/**
 * Values of one vector argument. Channel vectors are lopsided; `special` puts NaN and infinities
 * into x.
 */
function fill(arg: Vector, length: number, random: Random, flavour: Flavour): number[] {
  const values = Array.from({ length }, () => random.normal() * 2 + 0.5);
  if (arg.name === 'x' || arg.name === 'w') {
    const offset = flavour === 'offset' ? 4096 : 0;
    for (let i = 0; i < length; i++) values[i] = flavour === 'constant' ? 3.3 : values[i] + offset;
    if (flavour === 'special' && length > 2) {
      values[0] = Number.NaN;
      values[length >> 1] = Number.POSITIVE_INFINITY;
      values[length - 1] = Number.NEGATIVE_INFINITY;
    }
  }
  // places that count, that do not, and that count in part
  if (arg.name === 'weights') for (let i = 0; i < length; i++) values[i] = [1, 0, 0.75, 1][i % 4];
  // some channels need no centre, which kernels may make use of
  if (arg.name === 'center')
    for (let i = 0; i < length; i++) values[i] = i % 3 ? values[i] + (flavour === 'offset' ? 4096 : 0) : 0;
  return values;
}

const PARAMETERS: Record<string, (random: Random) => number> = {
  kind: (random) => Math.floor(random.uniform() * NAMES.length),
  alpha: () => 0.25,
  seed: (random) => random.bits(),
  threshold: () => 0xb0000000,
  scale: () => 1.25,
  min: () => -0.375,
  accumulate: (random) => random.bits() & 1,
  eps: () => 1e-5,
  centred: (random) => random.bits() & 1,
  together: (random) => random.bits() & 1,
  bands: (random) => random.bits() & 1,
  plain: (random) => random.bits() & 1,
  log: (random) => random.bits() & 1,
  low: (random) => (random.bits() & 1 ? Number.NEGATIVE_INFINITY : 0),
  high: (random) => (random.bits() & 1 ? Number.POSITIVE_INFINITY : 6),
};

interface Trial {
  sizes: Sizes;
  flavour: Flavour;
  /** f32 elements by which vectors are moved off their alignment. */
  shift: number;
  /** Output → the input whose memory it shares. */
  alias: Record<string, string>;
  without: string[];
}

function trialsFor(name: KernelName): Trial[] {
  const { args } = rowOf(name);
  const vectors = args.filter(isVector);
  const output = vectors.find((arg) => arg.alias?.length);
  const optional = vectors.filter((arg) => arg.optional).map((arg) => arg.name);
  const flavours: Flavour[] = ['ordinary', 'offset', 'constant', 'special'];
  return sizesFor(name).flatMap((sizes, i) => {
    const base = { sizes, flavour: flavours[i % 4], shift: i % 4, alias: {}, without: i % 2 ? optional : [] };
    const trials: Trial[] = [base, { ...base, flavour: flavours[(i + 1) % 4], shift: (i + 2) % 4 }];
    if (output) {
      const shared = output.alias!.filter((input) => !base.without.includes(input));
      for (const input of shared) trials.push({ ...base, alias: { [output.name]: input } });
    }
    return trials;
  });
}

/** Runs one trial on the kernel and on the plain loops, and returns what is wrong. */
function run(name: KernelName, trial: Trial, seed: number): string | undefined {
  const { args } = rowOf(name);
  const [, twin] = TWINS[name];
  const { heap, kernels } = withAll(backend());
  const random = new Random(seed);
  const scalars: Record<string, number> = { ...trial.sizes };
  const initial: Record<string, Array32> = {};
  for (const arg of args) {
    if (!isVector(arg)) {
      if (arg.role === 'parameter') scalars[arg.name] = PARAMETERS[arg.name](random);
      continue;
    }
    const length = arg.length(trial.sizes);
    const Type = arg.type === 'f32' ? Float32Array : Float64Array;
    initial[arg.name] =
      arg.access === 'read' || arg.access === 'update'
        ? arg.name === 'windows'
          ? windowsFor(trial.sizes, name.startsWith('avg'))
          : Type.from(fill(arg, length, random, trial.flavour))
        : new Type(length).fill(CANARY);
  }
  if (initial.taps) {
    const { run = trial.sizes.cols } = scalars;
    const tables = tablesFor({ ...trial.sizes, run: args.some((arg) => arg.name === 'run') ? run : trial.sizes.cols });
    for (const table of ['at', 'to', 'taps'] as const) initial[table] = tableBits(tables[table]);
  }
  if (initial.order) {
    // the last rows of the image, the last one first
    const { rows, samples, outHeight } = trial.sizes;
    initial.order = tableBits(Array.from({ length: rows }, (_, r) => samples * outHeight - 1 - r));
  }
  // what is worked out from the sums of segments is given the right ones
  const { x, dy, pivot, center, invStd, sum, square, dot } = initial as Record<string, never>;
  const { rows, channels, stride, segment } = trial.sizes;
  if (name === 'moments_nxc_f32') {
    js.pivot_nxc_f32(x, pivot, rows, channels);
    js.sums_nxc_f32(x, pivot, null, sum, square, rows, channels, stride, segment);
  }
  if (name === 'grad_totals_nxc_f32')
    js.grad_sums_nxc_f32(x, dy, center, invStd, null, sum, dot, rows, channels, stride, segment);
  // activations on sums of unlike rounding may fall on either side of a corner: no activation where
  // data are not ordinary
  if (trial.flavour !== 'ordinary' && 'kind' in scalars && name !== 'activate_f32' && name !== 'activate_grad_f32')
    scalars.kind = 0;

  // the plain loops, on arrays of their own
  const expected: Record<string, Array32> = {};
  for (const name in initial) expected[name] = initial[name].slice() as Array32;
  for (const out in trial.alias) expected[out] = expected[trial.alias[out]];
  twin(
    ...args.map((arg) =>
      trial.without.includes(arg.name) ? null : isVector(arg) ? expected[arg.name] : scalars[arg.name],
    ),
  );
  const scale = scaleOf(name, trial, initial, scalars);

  // the kernel, in linear memory, with guards around every vector
  const places: Record<string, { at: number; block: number; bytes: number }> = {};
  for (const arg of args.filter(isVector)) {
    const width = arg.type === 'f32' ? 4 : 8;
    const bytes = initial[arg.name].length * width;
    const block = heap.alloc(bytes + 4 * 64);
    const at = block + 64 + (arg.type === 'f32' ? trial.shift * 4 : (trial.shift & 1) * 8);
    places[arg.name] = { at, block, bytes };
  }
  const view = (arg: Vector) => {
    const Type = arg.type === 'f32' ? Float32Array : Float64Array;
    return new Type(heap.buffer as ArrayBuffer, places[arg.name].at, initial[arg.name].length);
  };
  try {
    for (const arg of args.filter(isVector)) {
      const { at, bytes } = places[arg.name];
      new Float32Array(heap.buffer as ArrayBuffer, at - GUARD * 4, GUARD).fill(CANARY);
      new Float32Array(heap.buffer as ArrayBuffer, at + bytes, GUARD).fill(CANARY);
      view(arg).set(initial[arg.name]);
    }
    const at = (arg: Vector) => (trial.without.includes(arg.name) ? 0 : places[trial.alias[arg.name] ?? arg.name].at);
    kernels[name](...args.map((arg) => (isVector(arg) ? at(arg) : scalars[arg.name])));

    for (const arg of args.filter(isVector)) {
      const { at, bytes } = places[arg.name];
      const guards = [
        ...new Float32Array(heap.buffer as ArrayBuffer, at - GUARD * 4, GUARD),
        ...new Float32Array(heap.buffer as ArrayBuffer, at + bytes, GUARD),
      ];
      if (guards.some((value) => value !== Math.fround(CANARY))) return `wrote outside ${arg.name}`;
      if (arg.access === 'scratch' || arg.name in trial.alias) continue;
      const shared = Object.keys(trial.alias).find((out) => trial.alias[out] === arg.name);
      const actual = view(arg);
      const want = expected[arg.name];
      const exact = arg.access === 'read' && !shared;
      for (let i = 0; i < want.length; i++) {
        if (exact) {
          if (!Object.is(actual[i], initial[arg.name][i])) return `changed its input ${arg.name}[${i}]`;
          continue;
        }
        const limit = scale(shared ?? arg.name, i, want[i]);
        if (Object.is(actual[i], want[i]) || (actual[i] === 0 && want[i] === 0)) continue;
        if (!(Math.abs(actual[i] - want[i]) <= limit))
          return `${arg.name}[${i}] is ${actual[i]}, not ${want[i]} ± ${limit}`;
      }
    }
    return undefined;
  } finally {
    for (const { block } of Object.values(places)) heap.free(block);
  }
}

/**
 * The error allowed for element i of an output, from the number of terms and the size of the data:
 * the plain loops are run on absolute values (means negated, so that differences become sums),
 * which gives the sum of absolute terms.
 */
function scaleOf(
  name: KernelName,
  { sizes, without }: Trial,
  initial: Record<string, Array32>,
  scalars: Record<string, number>,
) {
  const { args } = rowOf(name);
  const [, twin] = TWINS[name];
  if (name === 'pack_f32' || name === 'max_pool_f32') return () => 0;
  if (name === 'activate_f32' || name === 'dropout_f32') {
    return (_: string, i: number, want: number) => 8 * U * Math.abs(want) + U * Math.abs(initial.x[i]) + 1e-43;
  }
  if (name === 'activate_grad_f32') return (_: string, i: number) => 16 * U * Math.abs(initial.dy[i]) * 1.2 + 1e-43;
  if (name.startsWith('stats') || name.startsWith('moments')) {
    const nxc = name.includes('nxc');
    const { outer = 1, rows = 1, inner = 1, stride } = sizes;
    return (out: string, c: number, want: number) => {
      if (out === 'variance') return 16 * U * want + 1e-30;
      let sum = 0;
      const count = nxc ? rows : outer * inner;
      for (let k = 0; k < count; k++) {
        const i = nxc ? k * stride + c : Math.floor(k / inner) * stride + c * inner + (k % inner);
        sum += Math.abs(initial.x[i]);
      }
      return (8 * U * sum) / count;
    };
  }
  if (name.startsWith('softmax')) return softmaxScale(name, sizes, initial, scalars);
  if (name === 'norm_rows_f32' || name === 'grad_rows_f32') return rowScale(name, sizes, initial, scalars);
  const terms = sizes.depth ?? (name === 'column_sums_f32' ? 0 : 8);
  const sum: Record<string, Array32> = {};
  for (const arg of args.filter(isVector)) {
    const sign = ['center', 'pivot', 'k', 'b'].includes(arg.name) ? -1 : 1;
    // which value is the largest decides where its gradient goes
    if (arg.name === 'x' && name === 'max_pool_grad_f32') sum.x = initial.x;
    else sum[arg.name] = absolute(initial[arg.name]).map((value) => sign * value) as Array32;
  }
  const plain = {
    ...scalars,
    kind: 0,
    alpha: 0,
    low: Number.NEGATIVE_INFINITY,
    high: Number.POSITIVE_INFINITY,
  } as Record<string, number>;
  twin(...args.map((arg) => (without.includes(arg.name) ? null : isVector(arg) ? sum[arg.name] : plain[arg.name])));
  // no activation is steeper than 1.2; each adds 4 units in the last place of its own
  return (out: string, i: number, want: number) =>
    (terms + 4) * U * Math.abs(sum[out][i]) * 2.4 + 8 * U * Math.abs(want) + 1e-30;
}

/** The same for norms of rows, from the parts of their formulas. */
function rowScale(
  name: KernelName,
  { rows, cols }: Sizes,
  initial: Record<string, Array32>,
  scalars: Record<string, number>,
) {
  const { x, dy, gamma, beta, residual, center, invStd, left } = initial;
  const column = Array.from({ length: cols }, (_, j) => j);
  const most = Array.from({ length: rows }, (_, r) => Math.max(...column.map((j) => Math.abs(x[r * cols + j]))));
  if (name === 'norm_rows_f32') {
    return (out: string, i: number, want: number) => {
      if (out === 'y')
        return 16 * U * (Math.abs(want) + 2 * Math.abs(beta[i % cols]) + 2 * Math.abs(residual[i])) + 1e-30;
      if (out === 'left') return 4 * U * most[i] * (1 / Math.sqrt(scalars.eps));
      return 16 * U * Math.abs(want) + (out === 'center' ? 4 * U * most[i] : 0);
    };
  }
  const hat = (i: number) => {
    const r = Math.floor(i / cols);
    return (Math.abs(x[i]) + Math.abs(center[r])) * Math.abs(invStd[r]) + Math.abs(left[r]);
  };
  const sums = most.map((_, r) => {
    const terms = column.map((j) => [Math.abs(dy[r * cols + j] * gamma[j]), hat(r * cols + j)]);
    return [terms.reduce((sum, [g]) => sum + g, 0) / cols, terms.reduce((sum, [g, h]) => sum + g * h, 0) / cols];
  });
  return (out: string, i: number, want: number) => {
    if (out === 'dx') {
      const r = Math.floor(i / cols);
      const terms = Math.abs(dy[i] * gamma[i % cols]) + sums[r][0] + hat(i) * sums[r][1];
      return 40 * U * (Math.abs(invStd[r]) * terms + Math.abs(want)) + 1e-30;
    }
    let sum = 0;
    const { segment } = scalars;
    const first = Math.floor(i / cols) * segment;
    for (let r = first; r < Math.min(rows, first + segment); r++) {
      const at = r * cols + (i % cols);
      sum += Math.abs(dy[at]) * (out === 'dgamma' ? hat(at) : 1);
    }
    return 29 * U * sum + 1e-30;
  };
}

/** The same for softmax: an exponential is as far off as its argument, which is rounded. */
function softmaxScale(name: KernelName, { cols }: Sizes, initial: Record<string, Array32>, { log }: Sizes) {
  const { x, y, dy } = initial;
  const over = (i: number, value: (k: number) => number, join: (a: number, b: number) => number) => {
    const first = i - (i % cols);
    let found = value(first);
    for (let k = first + 1; k < first + cols; k++) found = join(found, value(k));
    return found;
  };
  if (name === 'softmax_rows_f32') {
    return (_: string, i: number, want: number) => {
      const far = over(i, (k) => x[k], Math.max) - x[i];
      return log ? U * (4 * Math.abs(want) + 4 * far + 8) : U * Math.abs(want) * (24 + 2 * far) + 1e-42;
    };
  }
  return (_: string, i: number) => {
    const sum = over(
      i,
      (k) => Math.abs(dy[k]) * (log ? 1 : Math.abs(y[k])),
      (a, b) => a + b,
    );
    if (log) return U * (4 * Math.abs(dy[i]) + (16 + 2 * Math.abs(y[i])) * Math.exp(y[i]) * sum) + 1e-42;
    return 8 * U * Math.abs(y[i]) * (Math.abs(dy[i]) + sum) + 1e-42;
  };
}

function absolute(values: Array32): Array32 {
  return values.map((value) => Math.abs(value)) as Array32;
}

describe.each(KERNEL_NAMES)('%s', (name) => {
  test('agrees with the plain loops at every length, offset and aliasing, and writes nothing else', () => {
    const trials = trialsFor(name);
    expect(trials.length).toBeGreaterThan(50);
    const failures = trials
      .map((trial, i) => [run(name, trial, i + 1), trial] as const)
      .filter(([failure]) => failure !== undefined)
      .map(([failure, trial]) => `${failure} in ${JSON.stringify(trial)}`);
    expect(failures.slice(0, 5)).toEqual([]);
  });

  const row = rowOf(name);
  const sizeNames = row.args.map((arg) => arg.name);
  // what adds up sums reads x only where they are not finite
  if (
    !sizeNames.includes('channels') ||
    !sizeNames.includes('x') ||
    sizeNames.includes('segments') ||
    name === 'pivot_nxc_f32'
  )
    return;
  test('keeps NaN and Inf in their channel: every other channel has the same bits', () => {
    const { args } = row;
    const { heap, kernels } = withAll(backend());
    for (const sizes of sizesFor(name).filter(({ channels }) => channels > 2)) {
      const { channels, inner = 1, stride = channels } = sizes;
      const bad = channels - 2;
      const run = (poison: number | undefined) => {
        const random = new Random(5);
        const places: number[] = [];
        const values = args.map((arg) => {
          // no activation: it might hide what it is given
          if (!isVector(arg)) return arg.role === 'size' ? sizes[arg.name] : 0;
          const length = arg.length(sizes);
          const at = heap.alloc(length * 8 + 8);
          places.push(at);
          const data =
            arg.name === 'windows'
              ? windowsFor(sizes, name.startsWith('avg'))
              : Array.from({ length }, () => random.normal() + 3);
          if (poison !== undefined && (arg.name === 'x' || arg.name === 'dy')) {
            let every = 0; // the first value of the channel, and every third after it
            for (let i = 0; i < length; i++) {
              if (Math.floor((i % stride) / inner) === bad && every++ % 3 === 0) data[i] = poison;
            }
          }
          const View = arg.type === 'f32' ? Float32Array : Float64Array;
          new View(heap.buffer as ArrayBuffer, at, length).set(data);
          return at;
        });
        kernels[name](...values);
        const outputs = args.flatMap((arg, k) => {
          if (!isVector(arg) || arg.access !== 'write') return [];
          const View = arg.type === 'f32' ? Float32Array : Float64Array;
          const length = arg.length(sizes);
          return [
            {
              values: Array.from(new View(heap.buffer as ArrayBuffer, values[k], length)),
              perChannel: arg.type === 'f64',
            },
          ];
        });
        for (const at of places) heap.free(at);
        return outputs;
      };
      const clean = run(undefined);
      for (const poison of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const dirty = run(poison);
        let changed = 0;
        clean.forEach(({ values, perChannel }, o) => {
          values.forEach((value, i) => {
            const channel = perChannel ? i % channels : Math.floor((i % stride) / inner);
            if (Object.is(value, dirty[o].values[i])) return;
            if (channel === bad) changed++;
            else {
              expect.fail(
                `${name} ${JSON.stringify(sizes)}: element ${i} of channel ${channel} changed from ${value} to ${dirty[o].values[i]}`,
              );
            }
          });
        });
        expect([sizes, changed > 0]).toEqual([sizes, true]);
      }
    }
  });
});

test('a pivot is one of the values of its channel, and no extreme one', () => {
  const { heap, kernels } = withAll(backend());
  const random = new Random(11);
  for (const sizes of sizesFor('pivot_nxc_f32')) {
    const { rows, channels, stride } = sizes;
    const x = heap.alloc(4 * rows * stride);
    const pivot = heap.alloc(4 * channels);
    const values = Float32Array.from({ length: rows * stride }, () => random.normal());
    heap.f32.set(values, x >> 2);
    kernels.pivot_nxc_f32(x, pivot, rows, channels, stride);
    for (let c = 0; c < channels; c++) {
      const column = Array.from({ length: rows }, (_, r) => values[r * stride + c]);
      const got = heap.f32[(pivot >> 2) + c];
      expect(column).toContain(got);
      if (rows >= 9 && backend().name !== 'js') {
        expect(got).toBeGreaterThan(Math.min(...column));
        expect(got).toBeLessThan(Math.max(...column));
      }
    }
    heap.free(x);
    heap.free(pivot);
  }
});

test('the vectors of the plain loops are those of the row, and come first', () => {
  expect(Object.keys(TWINS).sort()).toEqual([...KERNEL_NAMES].sort());
  for (const name of KERNEL_NAMES) {
    const { args } = rowOf(name);
    const [vectors] = TWINS[name];
    const types = args.slice(0, vectors.length).map((arg) => (isVector(arg) ? { f32: 'f', f64: 'd' }[arg.type] : '-'));
    expect([name, types.join('')]).toEqual([name, vectors]);
    expect(args.slice(vectors.length).some(isVector)).toBe(false);
  }
});
