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
  const index = axes.map(() => 0);
  let from = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = values[from];
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      from += axes[axis].stride;
      if (++index[axis] < axes[axis].length) break;
      from -= axes[axis].stride * axes[axis].length;
      index[axis] = 0;
    }
  }
  return out;
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
