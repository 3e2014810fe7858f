/** Values with their axes in another order: axis i of the result is axis `order[i]`. */
export function transposed(
  { data, shape }: { readonly data: Float32Array; readonly shape: readonly number[] },
  order: readonly number[],
): { data: Float32Array; shape: number[] } {
  const lengths = order.map((axis) => shape[axis]);
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const at = (i: number) => {
    let [rest, from] = [i, 0];
    for (let axis = order.length - 1; axis >= 0; axis--) {
      from += (rest % lengths[axis]) * strides[order[axis]];
      rest = Math.floor(rest / lengths[axis]);
    }
    return from;
  };
  return { data: Float32Array.from(data, (_, i) => data[at(i)]), shape: lengths };
}
