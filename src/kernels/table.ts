// One row per kernel: its arguments in order, and the plain loops of the same name. Everything that has to know all kernels walks this
// table: the plain-JavaScript backend, the conformance tests, the benchmarks.

import * as js from './js.ts';

/** The values of a kernel's size arguments, by name. */
export type Sizes = Record<string, number>;

/** A pointer argument. */
export interface Vector {
  readonly name: string;
  readonly type: 'f32' | 'f64';
  /** What the kernel does with it. `scratch` is written, and its content afterwards means nothing. */
  readonly access: 'read' | 'write' | 'update' | 'scratch';
  /** Elements it may touch. */
  readonly length: (sizes: Sizes) => number;
  /** May it be 0, "none"? */
  readonly optional?: boolean;
  /** Inputs whose memory an output may share. */
  readonly alias?: readonly string[];
}

/** An argument passed by value: a size, or a parameter of the formula. */
export interface Scalar {
  readonly name: string;
  readonly role: 'size' | 'parameter';
}

/** How a large call may be cut into parts that give the same bits on any number of threads. */
export interface Split {
  /** The size that is cut. A part's vectors begin as far along as `length` grows with it. */
  readonly along: string;
  /** Parts begin at multiples of this: the rows that a kernel takes together. */
  readonly grain: (sizes: Sizes) => number;
  /** Sizes whose product is the work: values, or multiplications. */
  readonly work: readonly string[];
  /** The least work of a call that is cut: below it threads cost more than they save (docs/performance.md). */
  readonly least: number;
  /** The most, where several threads get in one another's way beyond cache. */
  readonly most?: number;
}

export interface Row {
  readonly args: readonly (Vector | Scalar)[];
  // biome-ignore lint/suspicious/noExplicitAny: the twins differ in their arguments, which `args` describes
  readonly twin: (...args: any[]) => void;
  readonly split?: Split;
}

type Length = Vector['length'];

const read = (name: string, length: Length): Vector => ({ name, type: 'f32', access: 'read', length });
const optional = (name: string, length: Length): Vector => ({
  name,
  type: 'f32',
  access: 'read',
  length,
  optional: true,
});
const write = (name: string, length: Length, ...alias: string[]): Vector => ({
  name,
  type: 'f32',
  access: 'write',
  length,
  alias,
});
const partial = (name: string, length: Length): Vector => ({ name, type: 'f64', access: 'read', length });
const sums = (name: string, length: Length): Vector => ({ name, type: 'f64', access: 'write', length });
const scratch = (name: string, length: Length, type: Vector['type'] = 'f32'): Vector => ({
  name,
  type,
  access: 'scratch',
  length,
});
const sizes = (...names: string[]): Scalar[] => names.map((name) => ({ name, role: 'size' }));
const parameters = (...names: string[]): Scalar[] => names.map((name) => ({ name, role: 'parameter' }));

const flat: Length = ({ size }) => size;
const channel: Length = ({ channels }) => channels;
const planes: Length = ({ outer, channels, inner, stride }) => (outer - 1) * stride + channels * inner;
const rows: Length = ({ rows, channels }) => rows * channels;
const segmentsOf = ({ rows, segment }: Sizes) => Math.ceil(rows / segment);
const segmentSums: Length = (sizes) => segmentsOf(sizes) * sizes.channels;
const segmentLanes: Length = (sizes) => segmentsOf(sizes) * Math.ceil(sizes.channels / 4) * 8;
const segmentTotals: Length = ({ segments, channels }) => segments * channels;
const strided: Length = ({ rows, channels, stride }) => (rows - 1) * stride + channels;

const epilogue = parameters('kind', 'alpha');
const NCX = sizes('outer', 'channels', 'inner', 'stride');

/** Values of a call worth cutting: some 20 µs of work. */
export const WORTHWHILE = 3 << 15;

/** Multiplications of a product worth cutting. */
export const WORTHWHILE_PRODUCT = 1 << 18;

/** Values of a tensor that a shared last-level cache still holds. */
const CACHED_VALUES = 1 << 23;

const anywhere = () => 1;
const byChannels: Split = {
  along: 'channels',
  grain: anywhere,
  work: ['outer', 'channels', 'inner'],
  least: WORTHWHILE,
};
const byRows: Split = { along: 'rows', grain: anywhere, work: ['rows', 'channels'], least: WORTHWHILE };
const byCachedRows: Split = { ...byRows, most: CACHED_VALUES };
const bySegments: Split = { ...byCachedRows, grain: ({ segment }) => segment };
const bySize: Split = { along: 'size', grain: () => 16, work: ['size'], least: WORTHWHILE };

export const TABLE = {
  activate_f32: {
    twin: js.activate_f32,
    split: bySize,
    args: [read('x', flat), write('y', flat, 'x'), ...epilogue, ...sizes('size')],
  },
  activate_grad_f32: {
    twin: js.activate_grad_f32,
    split: bySize,
    args: [read('x', flat), read('dy', flat), write('dx', flat, 'x', 'dy'), ...epilogue, ...sizes('size')],
  },
  affine_ncx_f32: {
    twin: js.affine_ncx_f32,
    split: byChannels,
    args: [
      read('x', planes),
      optional('center', channel),
      read('scale', channel),
      read('shift', channel),
      optional('residual', planes),
      write('y', planes, 'x', 'residual'),
      ...epilogue,
      ...NCX,
    ],
  },
  affine_nxc_f32: {
    twin: js.affine_nxc_f32,
    split: byRows,
    args: [
      read('x', rows),
      optional('center', channel),
      read('scale', channel),
      read('shift', channel),
      optional('residual', rows),
      write('y', rows, 'x', 'residual'),
      ...epilogue,
      ...sizes('rows', 'channels'),
    ],
  },
  column_sums_f32: {
    twin: js.column_sums_f32,
    args: [read('x', ({ rows, cols }) => rows * cols), sums('sums', ({ cols }) => cols), ...sizes('rows', 'cols')],
  },
  dropout_f32: {
    twin: js.dropout_f32,
    args: [read('x', flat), write('y', flat, 'x'), ...parameters('seed', 'threshold', 'scale'), ...sizes('size')],
  },
  grad_input_ncx_f32: {
    twin: js.grad_input_ncx_f32,
    split: byChannels,
    args: [
      read('x', planes),
      read('dy', planes),
      read('center', channel),
      read('a', channel),
      read('b', channel),
      read('k', channel),
      write('dx', planes, 'x', 'dy'),
      ...NCX,
    ],
  },
  grad_input_nxc_f32: {
    twin: js.grad_input_nxc_f32,
    split: byCachedRows,
    args: [
      read('x', rows),
      read('dy', rows),
      read('center', channel),
      read('a', channel),
      read('b', channel),
      read('k', channel),
      write('dx', rows, 'x', 'dy'),
      ...sizes('rows', 'channels'),
    ],
  },
  grad_stats_ncx_f32: {
    twin: js.grad_stats_ncx_f32,
    split: byChannels,
    args: [
      read('x', planes),
      read('dy', planes),
      read('center', channel),
      read('invStd', channel),
      scratch('sums', ({ channels }) => channels * 4, 'f64'),
      sums('dbeta', channel),
      sums('dot', channel),
      ...NCX,
    ],
  },
  grad_sums_nxc_f32: {
    twin: js.grad_sums_nxc_f32,
    split: bySegments,
    args: [
      read('x', strided),
      read('dy', strided),
      read('center', channel),
      read('invStd', channel),
      scratch('lanes', segmentLanes),
      sums('sum', segmentSums),
      sums('dot', segmentSums),
      ...sizes('rows', 'channels', 'stride', 'segment'),
      ...parameters('together'),
    ],
  },
  grad_totals_nxc_f32: {
    twin: js.grad_totals_nxc_f32,
    args: [
      read('x', strided),
      read('dy', strided),
      read('center', channel),
      read('invStd', channel),
      partial('sum', segmentTotals),
      partial('dot', segmentTotals),
      sums('dbeta', channel),
      sums('total', channel),
      ...sizes('rows', 'channels', 'stride', 'segments'),
    ],
  },
  linear_f32: {
    twin: js.linear_f32,
    split: {
      along: 'rows',
      grain: () => 4,
      work: ['rows', 'depth', 'cols'],
      least: WORTHWHILE_PRODUCT,
    },
    args: [
      read('x', ({ rows, depth, rowStride, depthStride }) =>
        depth ? (rows - 1) * rowStride + (depth - 1) * depthStride + 1 : 0,
      ),
      read('packed', ({ depth, cols }) => Math.ceil(cols / 8) * depth * 8),
      optional('bias', ({ cols }) => cols),
      { name: 'y', type: 'f32', access: 'update', length: ({ rows, cols }) => rows * cols },
      ...epilogue,
      ...sizes('rows', 'depth', 'cols', 'rowStride', 'depthStride'),
      ...parameters('accumulate'),
    ],
  },
  moments_nxc_f32: {
    twin: js.moments_nxc_f32,
    args: [
      read('x', strided),
      read('pivot', channel),
      partial('sum', segmentTotals),
      partial('square', segmentTotals),
      sums('mean', channel),
      sums('variance', channel),
      ...sizes('rows', 'channels', 'stride', 'segments'),
    ],
  },
  pack_f32: {
    twin: js.pack_f32,
    args: [
      read('w', ({ depth, cols, depthStride, colStride }) =>
        depth ? (depth - 1) * depthStride + (cols - 1) * colStride + 1 : 0,
      ),
      write('packed', ({ depth, cols }) => Math.ceil(cols / 8) * depth * 8),
      ...sizes('depth', 'cols', 'depthStride', 'colStride'),
    ],
  },
  pivot_nxc_f32: {
    twin: js.pivot_nxc_f32,
    args: [read('x', strided), scratch('pivot', channel), ...sizes('rows', 'channels', 'stride')],
  },
  stats_ncx_f32: {
    twin: js.stats_ncx_f32,
    split: byChannels,
    args: [
      read('x', planes),
      scratch('pivot', channel),
      scratch('sums', ({ channels }) => channels * 4, 'f64'),
      sums('mean', channel),
      sums('variance', channel),
      ...NCX,
    ],
  },
  sums_nxc_f32: {
    twin: js.sums_nxc_f32,
    split: bySegments,
    args: [
      read('x', strided),
      read('pivot', channel),
      scratch('lanes', segmentLanes),
      sums('sum', segmentSums),
      sums('square', segmentSums),
      ...sizes('rows', 'channels', 'stride', 'segment'),
      ...parameters('together'),
    ],
  },
} satisfies Record<string, Row>;

export type KernelName = keyof typeof TABLE;

/** A kernel over linear memory: pointers and sizes, in the order of its row. */
export type Kernel = (...args: number[]) => void;

export type Kernels = Readonly<Record<KernelName, Kernel>>;

export const KERNEL_NAMES = Object.keys(TABLE) as KernelName[];

export function isVector(arg: Vector | Scalar): arg is Vector {
  return 'access' in arg;
}

/** A row, seen without its particular types. */
export function rowOf(name: KernelName): Row {
  return TABLE[name];
}
