// The kernels of inference as plain loops over typed arrays, with intermediate values in double
// precision. Three duties, one text: the oracle in tests, the fallback where WebAssembly is
// refused, the honest baseline in bench/.
//
// Arguments are those of the kernel of the same name in assembly/kernels/, with arrays in place of
// pointers (null for none).

import { activate } from '../activations.ts';

type F32 = Float32Array;

export function activate_f32(x: F32, y: F32, kind: number, alpha: number, size: number): void {
  for (let i = 0; i < size; i++) y[i] = activate(kind, x[i], alpha);
}

export function affine_ncx_f32(
  x: F32,
  center: F32 | null,
  scale: F32,
  shift: F32,
  residual: F32 | null,
  y: F32,
  kind: number,
  alpha: number,
  outer: number,
  channels: number,
  inner: number,
  stride: number,
): void {
  for (let n = 0; n < outer; n++) {
    for (let c = 0; c < channels; c++) {
      const h = center ? center[c] : 0;
      const a = scale[c];
      const b = shift[c];
      const start = n * stride + c * inner;
      const end = start + inner;
      if (residual) for (let i = start; i < end; i++) y[i] = (x[i] - h) * a + b + residual[i];
      else if (h) for (let i = start; i < end; i++) y[i] = (x[i] - h) * a + b;
      else for (let i = start; i < end; i++) y[i] = x[i] * a + b;
      if (kind) for (let i = start; i < end; i++) y[i] = activate(kind, y[i], alpha);
    }
  }
}

export function affine_nxc_f32(
  x: F32,
  center: F32 | null,
  scale: F32,
  shift: F32,
  residual: F32 | null,
  y: F32,
  kind: number,
  alpha: number,
  _bands: number,
  rows: number,
  channels: number,
): void {
  for (let r = 0, i = 0; r < rows; r++) {
    const start = i;
    if (center)
      for (let c = 0; c < channels; c++, i++)
        y[i] = (x[i] - center[c]) * scale[c] + shift[c] + (residual ? residual[i] : 0);
    else if (residual) for (let c = 0; c < channels; c++, i++) y[i] = x[i] * scale[c] + shift[c] + residual[i];
    else for (let c = 0; c < channels; c++, i++) y[i] = x[i] * scale[c] + shift[c];
    if (kind) for (let j = start; j < i; j++) y[j] = activate(kind, y[j], alpha);
  }
}
