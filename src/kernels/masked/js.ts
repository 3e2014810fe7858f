// The plain loops of batches in which not every place counts; see ../inference/js.ts.

type F32 = Float32Array;
type F64 = Float64Array;

export function masked_sums_ncx_f32(
  x: F32,
  dy: F32 | null,
  weights: F32,
  center: F32,
  invStd: F32,
  sum: F64,
  dot: F64,
  plain: number,
  outer: number,
  channels: number,
  inner: number,
  stride: number,
  sampleStep: number,
  channelStep: number,
): void {
  for (let c = 0; c < channels; c++) {
    sum[c] = dot[c] = 0;
    for (let n = 0; n < outer; n++) {
      const start = n * stride + c * inner;
      const at = n * sampleStep + c * channelStep - start;
      for (let i = start; i < start + inner; i++) {
        const w = weights[at + i];
        if (w === 0) continue;
        const d = plain && !dy ? x[i] - center[c] : (x[i] - center[c]) * invStd[c];
        const g = dy ? dy[i] : plain ? d : w * d;
        sum[c] += g;
        dot[c] += g * d;
      }
    }
  }
}

export function masked_sums_nxc_f32(
  x: F32,
  dy: F32 | null,
  weights: F32,
  center: F32,
  invStd: F32,
  _lanes: F32 | null,
  sum: F64,
  dot: F64,
  plain: number,
  _together: number,
  rows: number,
  channels: number,
  stride: number,
): void {
  masked_sums_ncx_f32(x, dy, weights, center, invStd, sum, dot, plain, rows, channels, 1, stride, 1, 0);
}

export function weigh_ncx_f32(
  y: F32,
  weights: F32,
  outer: number,
  channels: number,
  inner: number,
  stride: number,
  sampleStep: number,
  channelStep: number,
): void {
  for (let n = 0; n < outer; n++) {
    for (let c = 0; c < channels; c++) {
      const start = n * stride + c * inner;
      const at = n * sampleStep + c * channelStep - start;
      for (let i = start; i < start + inner; i++) y[i] = weights[at + i] === 0 ? 0 : y[i] * weights[at + i];
    }
  }
}

export function weigh_nxc_f32(y: F32, weights: F32, rows: number, channels: number): void {
  weigh_ncx_f32(y, weights, rows, channels, 1, channels, 1, 0);
}
