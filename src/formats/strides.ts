// Values in another order.

type Gathered = Float32Array | Float64Array | Uint8Array | Uint16Array;

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
  values: Gathered,
  shape: readonly number[],
  strides: readonly number[],
): void {
  if (out.length === 0) return;
  // axes of length 1 move nothing, and there may be thousands of them
  const axes = merged(shape.map((length, axis) => ({ length, stride: strides[axis] })));
  if (readInRows(out, values, axes)) return;
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

/** Without axes of length 1, and with one for two that follow each other in both orders. */
function merged(given: readonly Axis[]): Axis[] {
  const axes: Axis[] = [];
  for (const axis of given) {
    if (axis.length === 1) continue;
    const last = axes[axes.length - 1];
    if (last && last.stride === axis.stride * axis.length) {
      axes[axes.length - 1] = { length: last.length * axis.length, stride: axis.stride };
    } else axes.push(axis);
  }
  return axes;
}

/** As many values as a line of the cache has. */
const LINE = 16;
/** Beyond, places would take more memory than values. */
const LEAST_ROW = 8;

/**
 * Reads rows as they lie, a line at a time, where the axis of the rows is not the last one; false
 * where there is no such axis.
 */
function readInRows(out: Float32Array | Float64Array, values: Gathered, axes: readonly Axis[]): boolean {
  const place = axes.findIndex(({ stride, length }) => stride === 1 && length >= LEAST_ROW);
  if (place < 0 || place === axes.length - 1) return false;
  const { length } = axes[place];
  const step = axes.slice(place + 1).reduce((size, axis) => size * axis.length, 1);
  // where each row begins, and where its first value goes
  const count = out.length / length;
  const [from, to] = [new Uint32Array(count), new Uint32Array(count)];
  const index = axes.map(() => 0);
  for (let row = 0, at = 0, start = 0; row < count; row++) {
    from[row] = start;
    to[row] = at;
    at++;
    if (at % step === 0) at += step * (length - 1);
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      if (axis === place) continue;
      start += axes[axis].stride;
      if (++index[axis] < axes[axis].length) break;
      start -= axes[axis].stride * axes[axis].length;
      index[axis] = 0;
    }
  }
  for (let first = 0; first < length; first += LINE) {
    const end = Math.min(first + LINE, length);
    for (let row = 0; row < count; row++) {
      const source = from[row];
      let at = to[row] + first * step;
      for (let i = first; i < end; i++, at += step) out[at] = values[source + i];
    }
  }
  return true;
}

const ONE: Axis = { length: 1, stride: 0 };
/** Rows and columns that stay in the first cache, however far apart they are. */
const TILE = 32;

/** The two innermost axes, tile by tile. */
function turned(
  values: Gathered,
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
