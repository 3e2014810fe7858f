// The plain loops of norms of rows; see ../inference/js.ts.

import { activate } from '../activations.ts';

type F32 = Float32Array;
type F64 = Float64Array;

export function norm_rows_f32(
  x: F32,
  gamma: F32,
  beta: F32,
  residual: F32 | null,
  y: F32,
  center: F32,
  invStd: F32,
  left: F32,
  _moments: F64 | null,
  kind: number,
  alpha: number,
  eps: number,
  centred: number,
  rows: number,
  cols: number,
): void {
  for (let r = 0; r < rows; r++) {
    const start = r * cols;
    const end = start + cols;
    const h = Number.isFinite(x[start]) ? x[start] : 0;
    let shift = 0;
    let square = 0;
    for (let i = start; i < end; i++) shift += x[i] - h;
    const mean = h + shift / cols;
    const from = centred ? mean : 0;
    for (let i = start; i < end; i++) square += (x[i] - from) * (x[i] - from);
    square = square / cols + eps;
    const s = square === 0 ? 0 : 1 / Math.sqrt(square);
    center[r] = from;
    invStd[r] = s;
    left[r] = centred ? (center[r] - mean) * s : 0;
    for (let i = start, j = 0; i < end; i++, j++) {
      const v = (x[i] - from) * s * gamma[j] + beta[j] + (residual ? residual[i] : 0);
      y[i] = kind ? activate(kind, v, alpha) : v;
    }
  }
}

export function grad_rows_f32(
  x: F32,
  dy: F32,
  gamma: F32,
  center: F32,
  invStd: F32,
  left: F32,
  dx: F32,
  _lanes: F32 | null,
  dbeta: F64,
  dgamma: F64,
  centred: number,
  rows: number,
  cols: number,
  segment: number,
): void {
  dbeta.fill(0, 0, Math.ceil(rows / segment) * cols);
  dgamma.fill(0, 0, Math.ceil(rows / segment) * cols);
  for (let r = 0; r < rows; r++) {
    const start = r * cols;
    const at = Math.floor(r / segment) * cols;
    const h = center[r];
    const s = invStd[r];
    const t = left[r];
    let sum = 0;
    let dot = 0;
    for (let i = start, j = 0; j < cols; i++, j++) {
      const hat = (x[i] - h) * s + t;
      sum += dy[i] * gamma[j];
      dot += dy[i] * gamma[j] * hat;
      dbeta[at + j] += dy[i];
      dgamma[at + j] += dy[i] * hat;
    }
    const k = centred ? sum / cols : 0;
    const b = dot / cols;
    for (let i = start, j = 0; j < cols; i++, j++) dx[i] = s * (dy[i] * gamma[j] - k - b * ((x[i] - h) * s + t));
  }
}
