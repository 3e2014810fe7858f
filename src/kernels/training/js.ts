// The kernels of training as plain loops, sums in double precision; see ../inference/js.ts.

import { derivative } from '../activations.ts';

type F32 = Float32Array;
type F64 = Float64Array;

export function activate_grad_f32(x: F32, dy: F32, dx: F32, kind: number, alpha: number, size: number): void {
  for (let i = 0; i < size; i++) {
    const slope = derivative(kind, x[i], alpha);
    dx[i] = slope === 0 ? 0 : dy[i] * slope;
  }
}

export function column_sums_f32(x: F32, sums: F64, rows: number, cols: number): void {
  for (let c = 0; c < cols; c++) sums[c] = 0;
  for (let r = 0, i = 0; r < rows; r++) for (let c = 0; c < cols; c++, i++) sums[c] += x[i];
}

export function dropout_f32(x: F32, y: F32, seed: number, threshold: number, scale: number, size: number): void {
  const limit = threshold >>> 0;
  for (let i = 0; i < size; i++) {
    let h = Math.imul(i, 0x9e3779b1) ^ seed;
    h ^= h >>> 16;
    h = Math.imul(h, 0x21f0aaad);
    h ^= h >>> 15;
    h = Math.imul(h, 0x735a2d97);
    h ^= h >>> 15;
    y[i] = h >>> 0 < limit ? x[i] * scale : 0;
  }
}

export function grad_input_ncx_f32(
  x: F32,
  dy: F32,
  center: F32,
  a: F32,
  b: F32,
  k: F32,
  dx: F32,
  outer: number,
  channels: number,
  inner: number,
  stride: number,
): void {
  for (let n = 0; n < outer; n++) {
    for (let c = 0; c < channels; c++) {
      const h = center[c];
      const ac = a[c];
      const bc = b[c];
      const kc = k[c];
      const start = n * stride + c * inner;
      for (let i = start; i < start + inner; i++) dx[i] = ac * (dy[i] - kc - bc * (x[i] - h));
    }
  }
}

export function grad_input_nxc_f32(
  x: F32,
  dy: F32,
  center: F32,
  a: F32,
  b: F32,
  k: F32,
  dx: F32,
  _bands: number,
  rows: number,
  channels: number,
): void {
  for (let r = 0, i = 0; r < rows; r++) {
    for (let c = 0; c < channels; c++, i++) dx[i] = a[c] * (dy[i] - k[c] - b[c] * (x[i] - center[c]));
  }
}

export function grad_stats_ncx_f32(
  x: F32,
  dy: F32,
  center: F32,
  invStd: F32,
  _sums: F64 | null,
  dbeta: F64,
  dot: F64,
  outer: number,
  channels: number,
  inner: number,
  stride: number,
): void {
  for (let c = 0; c < channels; c++) {
    const h = center[c];
    const s = invStd[c];
    let sum = 0;
    let product = 0;
    for (let n = 0; n < outer; n++) {
      const start = n * stride + c * inner;
      for (let i = start; i < start + inner; i++) {
        sum += dy[i];
        product += dy[i] * ((x[i] - h) * s);
      }
    }
    dbeta[c] = sum;
    dot[c] = product;
  }
}

export function grad_sums_nxc_f32(
  x: F32,
  dy: F32,
  center: F32,
  invStd: F32,
  _lanes: F32 | null,
  sum: F64,
  dot: F64,
  rows: number,
  channels: number,
  stride: number,
  segment: number,
): void {
  sum.fill(0, 0, Math.ceil(rows / segment) * channels);
  dot.fill(0, 0, Math.ceil(rows / segment) * channels);
  for (let r = 0; r < rows; r++) {
    const s = Math.floor(r / segment) * channels;
    for (let c = 0, i = r * stride; c < channels; c++, i++) {
      sum[s + c] += dy[i];
      dot[s + c] += dy[i] * ((x[i] - center[c]) * invStd[c]);
    }
  }
}

export function grad_totals_nxc_f32(
  _x: F32,
  _dy: F32,
  _center: F32,
  _invStd: F32,
  sum: F64,
  dot: F64,
  dbeta: F64,
  totals: F64,
  _rows: number,
  channels: number,
  _stride: number,
  segments: number,
): void {
  total(sum, dbeta, channels, segments);
  total(dot, totals, channels, segments);
}

function total(sums: F64, to: F64, channels: number, segments: number): void {
  for (let c = 0; c < channels; c++) to[c] = sums[c];
  for (let s = 1, i = channels; s < segments; s++) for (let c = 0; c < channels; c++, i++) to[c] += sums[i];
}

export function moments_nxc_f32(
  _x: F32,
  pivot: F32,
  sum: F64,
  square: F64,
  mean: F64,
  variance: F64,
  rows: number,
  channels: number,
  _stride: number,
  segments: number,
): void {
  total(sum, mean, channels, segments);
  total(square, variance, channels, segments);
  for (let c = 0; c < channels; c++) storeMoments(mean, variance, c, pivot[c], mean[c] / rows, variance[c] / rows);
}

export function pivot_nxc_f32(x: F32, pivot: F32, _rows: number, channels: number): void {
  for (let c = 0; c < channels; c++) pivot[c] = finiteOr0(x[c]);
}

export function stats_ncx_f32(
  x: F32,
  pivot: F32,
  _sums: F64 | null,
  mean: F64,
  variance: F64,
  outer: number,
  channels: number,
  inner: number,
  stride: number,
): void {
  const count = outer * inner;
  for (let c = 0; c < channels; c++) {
    const h = (pivot[c] = finiteOr0(x[c * inner]));
    let sum = 0;
    let square = 0;
    for (let n = 0; n < outer; n++) {
      const start = n * stride + c * inner;
      for (let i = start; i < start + inner; i++) {
        const d = x[i] - h;
        sum += d;
        square += d * d;
      }
    }
    storeMoments(mean, variance, c, h, sum / count, square / count);
  }
}

export function sums_nxc_f32(
  x: F32,
  pivot: F32,
  _lanes: F32 | null,
  sum: F64,
  square: F64,
  rows: number,
  channels: number,
  stride: number,
  segment: number,
): void {
  sum.fill(0, 0, Math.ceil(rows / segment) * channels);
  square.fill(0, 0, Math.ceil(rows / segment) * channels);
  for (let r = 0; r < rows; r++) {
    const s = Math.floor(r / segment) * channels;
    for (let c = 0, i = r * stride; c < channels; c++, i++) {
      const d = x[i] - pivot[c];
      sum[s + c] += d;
      square[s + c] += d * d;
    }
  }
}

function finiteOr0(value: number): number {
  return Number.isFinite(value) ? value : 0;
}

function storeMoments(mean: F64, variance: F64, c: number, pivot: number, shift: number, square: number): void {
  mean[c] = pivot + shift;
  variance[c] = Math.max(square - shift * shift, 0);
}
