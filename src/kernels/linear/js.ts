// The plain loops of products; see ../inference/js.ts.

type F32 = Float32Array;

export function byte_sums_f32(x: F32, totals: Float64Array, size: number): void {
  const bytes = new Uint8Array(x.buffer, x.byteOffset, 4 * size);
  let [sum, weighted] = [0, 0];
  for (let i = 0; i < bytes.length; i++) {
    sum = (sum + bytes[i]) | 0;
    weighted = (weighted + sum) | 0;
  }
  totals[0] = sum >>> 0;
  totals[1] = weighted >>> 0;
}

export function linear_f32(
  x: F32,
  packed: F32,
  bias: F32 | null,
  y: F32,
  rows: number,
  depth: number,
  cols: number,
  rowStride: number,
  depthStride: number,
  accumulate: number,
): void {
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < cols; o++) {
      let sum = (bias ? bias[o] : 0) + (accumulate ? y[r * cols + o] : 0);
      let w = (o >>> 3) * depth * 8 + (o & 7);
      for (let k = 0, i = r * rowStride; k < depth; k++, i += depthStride, w += 8) sum += x[i] * packed[w];
      y[r * cols + o] = sum;
    }
  }
}

export function pack_f32(
  w: F32,
  packed: F32,
  depth: number,
  cols: number,
  depthStride: number,
  colStride: number,
  panelStride: number,
): void {
  for (let o = 0, panel = 0; o < cols; o += 8, panel += panelStride) {
    for (let k = 0, at = panel; k < depth; k++) {
      for (let j = o; j < o + 8; j++) packed[at++] = j < cols ? w[k * depthStride + j * colStride] : 0;
    }
  }
}
