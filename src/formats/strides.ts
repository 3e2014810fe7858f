// Values in another order.

/**
 * Values row by row, of an array in which steps along its axes are so many values long.
 *
 * @param values as many as the shape says
 */
export function gathered<V extends Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>(
  values: V,
  shape: readonly number[],
  strides: readonly number[],
): V {
  const out = values.slice() as V;
  // axes of length 1 move nothing, and there may be thousands of them
  const axes = shape.map((length, axis) => ({ length, stride: strides[axis] })).filter(({ length }) => length !== 1);
  if (out.length === 0 || axes.length === 0) return out;
  const rows = axes.at(-2) ?? { length: 1, stride: 0 };
  const columns = axes.at(-1)!;
  const outer = axes.slice(0, -2);
  const index = outer.map(() => 0);
  let from = 0;
  for (let at = 0; at < out.length; at += rows.length * columns.length) {
    turn(values, out, from, at, rows, columns);
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      from += outer[axis].stride;
      if (++index[axis] < outer[axis].length) break;
      from -= outer[axis].stride * outer[axis].length;
      index[axis] = 0;
    }
  }
  return out;
}

interface Axis {
  readonly length: number;
  readonly stride: number;
}

/** Side of the blocks in which a matrix is turned: both sides of one stay in the cache. */
const BLOCK = 32;

function turn(
  values: Float32Array | Float64Array,
  out: Float32Array | Float64Array,
  from: number,
  to: number,
  rows: Axis,
  columns: Axis,
): void {
  for (let top = 0; top < rows.length; top += BLOCK) {
    const bottom = Math.min(top + BLOCK, rows.length);
    for (let left = 0; left < columns.length; left += BLOCK) {
      const right = Math.min(left + BLOCK, columns.length);
      for (let i = top; i < bottom; i++) {
        const source = from + i * rows.stride;
        const target = to + i * columns.length;
        for (let j = left; j < right; j++) out[target + j] = values[source + j * columns.stride];
      }
    }
  }
}

/** How far steps along each axis are where the last axis runs fastest, or the first one. */
export function stridesOf(shape: readonly number[], firstFastest = false): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = 0; i < shape.length; i++) {
    const axis = firstFastest ? i : shape.length - 1 - i;
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}
