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
  const out = new (values.constructor as new (length: number) => V)(values.length);
  gatherInto(out, values, shape, strides);
  return out;
}

/** The same into another array, of as many values. */
export function gatherInto(
  out: Float32Array | Float64Array,
  values: Float32Array | Float64Array,
  shape: readonly number[],
  strides: readonly number[],
): void {
  if (out.length === 0) return;
  // axes of length 1 move nothing, and there may be thousands of them
  const axes = shape.map((length, axis) => ({ length, stride: strides[axis] })).filter(({ length }) => length !== 1);
  const [rows, columns] = [axes.pop() ?? ONE, axes.pop() ?? ONE].reverse();
  const index = axes.map(() => 0);
  let from = 0;
  for (let at = 0; at < out.length; at += rows.length * columns.length) {
    turned(values, from, rows, columns, out, at);
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      from += axes[axis].stride;
      if (++index[axis] < axes[axis].length) break;
      from -= axes[axis].stride * axes[axis].length;
      index[axis] = 0;
    }
  }
}

interface Axis {
  readonly length: number;
  readonly stride: number;
}

const ONE: Axis = { length: 1, stride: 0 };
/** Rows and columns that stay in the first cache, however far apart they are. */
const TILE = 32;

/** The two innermost axes, tile by tile. */
function turned(
  values: Float32Array | Float64Array,
  from: number,
  rows: Axis,
  columns: Axis,
  out: Float32Array | Float64Array,
  at: number,
): void {
  const [height, width] = [rows.length, columns.length];
  const [down, right] = [rows.stride, columns.stride];
  for (let top = 0; top < height; top += TILE) {
    const bottom = Math.min(top + TILE, height);
    for (let left = 0; left < width; left += TILE) {
      const end = Math.min(left + TILE, width);
      for (let row = top; row < bottom; row++) {
        let place = from + row * down + left * right;
        const to = at + row * width;
        for (let column = left; column < end; column++, place += right) out[to + column] = values[place];
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
