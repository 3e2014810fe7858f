// A case for each kernel, made from its row: data of the sizes below in the arena, the kernel
// called as a layer would, its plain loops on arrays of their own. Kernels with an activation as
// their subject have a case for each.

import { ACTIVATIONS, activationCode } from '../src/kernels/activations.ts';
import { backend } from '../src/kernels/backend.ts';
import { type WindowAxis, windowsOf } from '../src/kernels/pool/windows.ts';
import { isVector, type Sizes, type Vector } from '../src/kernels/row.ts';
import { KERNEL_NAMES, type KernelName, rowOf, TWINS, withAll } from '../src/kernels/table.ts';
import { Random } from '../src/nn/random.ts';
import type { CaseGroup, CaseWork } from './cases.ts';
import { relativeDifference } from './workload.ts';

/**
 * By the sizes that tell kernels apart: the first of which a kernel takes all. 1.6 MB of values, or
 * a product.
 */
const SIZES: readonly Sizes[] = [
  { size: 401_408 },
  { outer: 8, channels: 64, inner: 784, stride: 64 * 784, sampleStep: 784, channelStep: 0 },
  { rows: 6272, channels: 64, stride: 64, segment: 64, segments: 98 },
  { count: 3136, runs: 3, run: 192, cols: 64, reach: 58 * 58 * 64, span: 56 * 56 * 64 + 64 },
  { count: 3136, runs: 9, cols: 96, reach: 58 * 58 * 96, span: 56 * 56 * 96 },
  { count: 25_088, run: 8 },
  {
    ...{ first: 1, samples: 4, cols: 64, repeat: 1, depth: 1, height: 56, width: 56 },
    ...{ toDepth: 1, toHeight: 58, toWidth: 58, front: 0, top: 1, left: 1 },
  },
  {
    ...{ rows: 56, samples: 1, height: 56, width: 56, outHeight: 56, outWidth: 56, cols: 96 },
    ...{ kernelHeight: 3, kernelWidth: 3, strideHeight: 1, strideWidth: 1, top: 1, left: 1 },
  },
  {
    ...{ samples: 1, height: 56, width: 56, depth: 64, outHeight: 56, outWidth: 56 },
    ...{ cols: 64, pixel: 64, top: 1, left: 1, share: 64, block: 112 },
  },
  { rows: 512, cols: 768, segment: 64 },
  { rows: 64, depth: 784, cols: 100, rowStride: 784, depthStride: 1 },
  { depth: 784, cols: 100, depthStride: 1, colStride: 784, panelStride: 6272 },
  {
    ...{ samples: 1, depth: 1, height: 56, width: 56 },
    ...{ first: 0, sampleStep: 215_296, depthStep: 215_296, rowStep: 3712, step: 64 },
  },
  {
    ...{ outer: 2, channels: 64, inDepth: 1, inHeight: 56, inWidth: 56, outDepth: 1, outHeight: 28, outWidth: 28 },
    ...{ dilationDepth: 1, dilationHeight: 1, dilationWidth: 1 },
  },
];

/** Windows of pooling for the sizes above: 3 × 3, stride 2, padding 1. */
function windows(): Float32Array {
  const one: WindowAxis = { input: 1, output: 1, kernel: 1, stride: 1, padding: 0, dilation: 1 };
  const axis: WindowAxis = { input: 56, output: 28, kernel: 3, stride: 2, padding: 1, dilation: 1 };
  return windowsOf([one, axis, axis]);
}

const PARAMETERS: Sizes = {
  ...{ kind: 0, alpha: 0, seed: 1, threshold: 2 ** 31, scale: 2, accumulate: 0, eps: 1e-5 },
  ...{ min: -1, centred: 1, together: 1, bands: 1, plain: 0, log: 0 },
  ...{ low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY },
};

/** Sums of segments are given as the kernels before have left them. */
const BEFORE: Partial<Record<KernelName, readonly KernelName[]>> = {
  moments_nxc_f32: ['pivot_nxc_f32', 'sums_nxc_f32'],
  grad_totals_nxc_f32: ['grad_sums_nxc_f32'],
};

type Values = Float32Array | Float64Array;

/** Where pixels of 56² and windows of 3×3 lie, with zeros around: u32, as f32. */
function tableOf(name: string, { runs, run, cols }: Sizes): Float32Array | undefined {
  const channels = run ? run / 3 : cols;
  const place = (i: number, j: number) => (i * 58 + j) * channels;
  const tables: Record<string, () => number[]> = {
    at: () => Array.from({ length: 3136 }, (_, t) => place(Math.floor(t / 56), t % 56)),
    to: () => Array.from({ length: 3136 }, (_, t) => t * cols),
    order: () => Array.from({ length: 56 }, (_, row) => row),
    taps: () => Array.from({ length: runs }, (_, r) => (run ? place(r, 0) : place(Math.floor(r / 3), r % 3))),
  };
  return tables[name] && new Float32Array(Uint32Array.from(tables[name]()).buffer);
}

/** Values by the name of their argument; each channel or row has its own. */
function valuesOf({ name, type, length }: Vector, sizes: Sizes, random: Random): Values {
  if (name === 'windows') return windows();
  const Type = type === 'f32' ? Float32Array : Float64Array;
  // a sequence of its own: drawing millions of normals takes longer than measuring
  const noise = Array.from({ length: 4099 }, () => random.normal());
  const draw = (i: number) => noise[i % noise.length];
  if (name === 'weights') return new Type(length(sizes)).map((_, i) => (i % 4 === 1 ? 0 : 1));
  if (name === 'invStd') return new Type(length(sizes)).map((_, i) => Math.exp(draw(i) / 2));
  return new Type(length(sizes)).map((_, i) => draw(i) + 0.5);
}

export function kernelCases(): CaseGroup[] {
  return KERNEL_NAMES.flatMap((name) => {
    const { args } = rowOf(name);
    const optional = args.filter((arg) => isVector(arg) && arg.optional).map((arg) => arg.name);
    const variants = [kernelCase(name)];
    if (optional.length) variants.push(kernelCase(name, `without ${optional.join(', ')}`, {}, optional));
    if (name === 'activate_f32' || name === 'activate_grad_f32')
      for (const activation of ACTIVATIONS)
        variants.push(kernelCase(name, activation, activationCode('bench', activation)));
    return variants;
  });
}

function kernelCase(name: KernelName, variant = '', given: Given = {}, without: readonly string[] = []): CaseGroup {
  const { names, sizes } = sizesOf(name);
  const shape = [names.map((size) => sizes[size]).join('x'), variant].filter(Boolean).join(', ');
  return { names: [{ op: 'kernel', layout: name, shape }], make: () => kernelWork(name, sizes, given, without) };
}

interface Given {
  readonly kind?: number;
  readonly alpha?: number;
}

/** The sizes that a kernel takes, by name, and what they are here. */
function sizesOf(name: KernelName): { names: string[]; sizes: Sizes } {
  const names = rowOf(name)
    .args.filter((arg) => !isVector(arg) && arg.role === 'size')
    .map((arg) => arg.name);
  const sizes = SIZES.find((some) => names.every((size) => size in some));
  if (!sizes) throw new Error(`${name}: no sizes for ${names.join(', ')} in bench/kernels.ts`);
  return { names, sizes };
}

function kernelWork(name: KernelName, sizes: Sizes, given: Given, without: readonly string[]) {
  const { args } = rowOf(name);
  const scalars: Sizes = { ...PARAMETERS, ...sizes, ...given };
  const random = new Random(7);
  const vectors = args.filter(isVector).filter((arg) => !without.includes(arg.name));
  const arrays: Record<string, Values> = {};
  const hasTables = vectors.some(({ name }) => name === 'taps' || name === 'order');
  for (const vector of vectors) {
    arrays[vector.name] = (hasTables && tableOf(vector.name, sizes)) || valuesOf(vector, sizes, random);
  }
  const loops = (kernel: KernelName) => {
    const values = rowOf(kernel).args.map((arg) => (isVector(arg) ? (arrays[arg.name] ?? null) : scalars[arg.name]));
    return () => TWINS[kernel][1](...values);
  };
  for (const before of BEFORE[name] ?? []) loops(before)();

  const current = withAll(backend());
  const { heap } = current;
  const at: Record<string, number> = {};
  for (const { name, type } of vectors) at[name] = heap.alloc(arrays[name].length * (type === 'f32' ? 4 : 8));
  const viewOf = ({ name, type }: Vector) => {
    const { length } = arrays[name];
    return type === 'f32'
      ? heap.f32.subarray(at[name] / 4, at[name] / 4 + length)
      : heap.f64.subarray(at[name] / 8, at[name] / 8 + length);
  };
  const fill = () => {
    for (const vector of vectors) viewOf(vector).set(arrays[vector.name]);
  };
  fill();
  const values = args.map((arg) => (isVector(arg) ? (at[arg.name] ?? 0) : scalars[arg.name]));
  const plain = loops(name);
  const ours = () => current.parallel[name](...values);
  const moved = vectors.filter(({ access }) => access !== 'scratch');
  const bytes = moved.reduce(
    (sum, { name, access }) => sum + arrays[name].byteLength * (access === 'update' ? 2 : 1),
    0,
  );
  const half = Math.ceil(bytes / 8);
  const [from, to] = [heap.alloc(4 * half), heap.alloc(4 * half)];
  const { rows, depth, cols, count, runs, run = 1, outHeight, outWidth } = scalars;
  const work: CaseWork = {
    bytes,
    ...(name === 'linear_f32' && { flops: 2 * rows * depth * cols }),
    ...(hasTables && { flops: 2 * (name.includes('rows') ? 9 * 56 * 56 : count * runs * run) * cols }),
    // of the sum that it works out, which takes four ninths of them
    ...(name === 'winograd_nxc_f32' && { flops: 2 * outHeight * outWidth * 9 * depth * cols }),
    ours,
    plain,
    copy: () => current.kernels.activate_f32(from, to, 0, 0, half),
    difference: () => {
      fill();
      ours();
      const got = moved
        .filter(({ access }) => access !== 'read')
        .map((vector) => [vector.name, viewOf(vector).slice()] as const);
      plain();
      // what a rounded mean leaves is added to normalized values, which are about 1
      const apart = (output: string, actual: Values) =>
        output === 'left'
          ? relativeDifference([...actual, 1], [...arrays[output], 1])
          : relativeDifference(actual, arrays[output]);
      return Math.max(...got.map(([output, actual]) => apart(output, actual)));
    },
  };
  const dispose = () => {
    for (const block of [...Object.values(at), from, to]) heap.free(block);
  };
  return { works: { kernel: work }, dispose };
}
