// What a row of the kernel tables says, and the words that rows are written in.

import { WORTHWHILE } from './part.ts';

/** The values of a kernel's size arguments, by name. */
export type Sizes = Record<string, number>;

/** A pointer argument. */
export interface Vector {
  readonly name: string;
  readonly type: 'f32' | 'f64';
  /**
   * What the kernel does with it. `scratch` is written, and its content afterwards means nothing.
   */
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
  /**
   * The least work of a call that is cut: below it threads cost more than they save
   * (docs/performance.md).
   */
  readonly least: number;
  /** The most, where several threads get in one another's way beyond cache. */
  readonly most?: number;
}

/** What has to be known of a kernel to check it, and to share its calls out among threads. */
export interface Row {
  readonly args: readonly (Vector | Scalar)[];
  readonly split?: Split;
}

type Length = Vector['length'];

export const read = (name: string, length: Length): Vector => ({ name, type: 'f32', access: 'read', length });
export const optional = (name: string, length: Length): Vector => ({
  name,
  type: 'f32',
  access: 'read',
  length,
  optional: true,
});
export const write = (name: string, length: Length, ...alias: string[]): Vector => ({
  name,
  type: 'f32',
  access: 'write',
  length,
  alias,
});
export const partial = (name: string, length: Length): Vector => ({ name, type: 'f64', access: 'read', length });
export const sums = (name: string, length: Length): Vector => ({ name, type: 'f64', access: 'write', length });
export const scratch = (name: string, length: Length, type: Vector['type'] = 'f32'): Vector => ({
  name,
  type,
  access: 'scratch',
  length,
});
export const sizes = (...names: string[]): Scalar[] => names.map((name) => ({ name, role: 'size' }));
export const parameters = (...names: string[]): Scalar[] => names.map((name) => ({ name, role: 'parameter' }));

export const flat: Length = ({ size }) => size;
export const channel: Length = ({ channels }) => channels;
export const planes: Length = ({ outer, channels, inner, stride }) => (outer - 1) * stride + channels * inner;
export const rows: Length = ({ rows, channels }) => rows * channels;
const segmentsOf = ({ rows, segment }: Sizes) => Math.ceil(rows / segment);
export const segmentSums: Length = (sizes) => segmentsOf(sizes) * sizes.channels;
export const segmentLanes: Length = (sizes) => segmentsOf(sizes) * Math.ceil(sizes.channels / 4) * 8;
export const segmentTotals: Length = ({ segments, channels }) => segments * channels;
/** Rows and columns of a matrix. */
export const matrix: Length = ({ rows, cols }) => rows * cols;
export const strided: Length = ({ rows, channels, stride }) => (rows - 1) * stride + channels;

export const epilogue = /* @__PURE__ */ parameters('kind', 'alpha');
export const NCX = /* @__PURE__ */ sizes('outer', 'channels', 'inner', 'stride');

/** Values of a tensor that a shared last-level cache still holds. */
const CACHED_VALUES = 1 << 23;

export const anywhere = () => 1;
export const byChannels: Split = {
  along: 'channels',
  grain: anywhere,
  work: ['outer', 'channels', 'inner'],
  least: WORTHWHILE,
};
export const byRows: Split = { along: 'rows', grain: anywhere, work: ['rows', 'channels'], least: WORTHWHILE };
export const byWholeRows: Split = { along: 'rows', grain: anywhere, work: ['rows', 'cols'], least: WORTHWHILE };
export const byCachedRows: Split = /* @__PURE__ */ Object.assign({}, byRows, { most: CACHED_VALUES });
export const bySegments: Split = /* @__PURE__ */ Object.assign({}, byCachedRows, {
  grain: ({ segment }: Sizes) => segment,
});
export const bySize: Split = { along: 'size', grain: () => 16, work: ['size'], least: WORTHWHILE };

export function isVector(arg: Vector | Scalar): arg is Vector {
  return 'access' in arg;
}
