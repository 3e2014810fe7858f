// The plain loops of convolutions; see ../inference/js.ts.

type F32 = Float32Array;

/** A table of u32, which comes as f32 values. */
export const table = ({ buffer, byteOffset, length }: F32) => new Uint32Array(buffer, byteOffset, length);

/** A NaN passes. */
const clamp = (value: number, low: number, high: number) => (value < low ? low : value > high ? high : value);

export function conv_nxc_f32(
  x: F32,
  packed: F32,
  bias: F32 | null,
  residual: F32 | null,
  y: F32,
  at: F32,
  to: F32,
  taps: F32,
  low: number,
  high: number,
  count: number,
  runs: number,
  run: number,
  cols: number,
): void {
  const [from, into, tap] = [at, to, taps].map(table);
  for (let t = 0; t < count; t++) {
    for (let o = 0; o < cols; o++) {
      let sum = 0;
      let w = (o >>> 3) * runs * run * 8 + (o & 7);
      for (let r = 0; r < runs; r++) {
        const first = from[t] + tap[r];
        for (let i = first; i < first + run; i++, w += 8) sum += x[i] * packed[w];
      }
      const i = into[t] + o;
      y[i] = clamp(sum + (bias ? bias[o] : 0) + (residual ? residual[i] : 0), low, high);
    }
  }
}

export function decode_bytes_f32(y: F32, scale: number, min: number, count: number): void {
  const bytes = new Uint8Array(y.buffer, y.byteOffset + 3 * count, count).slice();
  for (let i = 0; i < count; i++) y[i] = bytes[i] * scale + min;
}

export function depthwise_nxc_f32(
  x: F32,
  w: F32,
  bias: F32 | null,
  residual: F32 | null,
  y: F32,
  at: F32,
  to: F32,
  taps: F32,
  low: number,
  high: number,
  count: number,
  runs: number,
  cols: number,
): void {
  const [from, into, tap] = [at, to, taps].map(table);
  for (let t = 0; t < count; t++) {
    for (let c = 0; c < cols; c++) {
      let sum = 0;
      for (let r = 0; r < runs; r++) sum += x[from[t] + tap[r] + c] * w[r * cols + c];
      const i = into[t] + c;
      y[i] = clamp(sum + (bias ? bias[c] : 0) + (residual ? residual[i] : 0), low, high);
    }
  }
}

export function pad_nxc_f32(
  x: F32,
  y: F32,
  first: number,
  samples: number,
  cols: number,
  repeat: number,
  depth: number,
  height: number,
  width: number,
  toDepth: number,
  toHeight: number,
  toWidth: number,
  front: number,
  top: number,
  left: number,
): void {
  const places = depth * height * width;
  y.fill(0, 0, samples * toDepth * toHeight * toWidth * cols * repeat);
  for (let n = 0; n < samples; n++) {
    for (let d = 0; d < depth; d++) {
      for (let h = 0; h < height; h++) {
        for (let w = 0; w < width; w++) {
          const from = (d * height + h) * width + w;
          const pixel = ((n * toDepth + d + front) * toHeight + h + top) * toWidth + w + left;
          for (let c = 0; c < cols; c++) {
            const value = x[first ? (n * cols + c) * places + from : (n * places + from) * cols + c];
            const at = (pixel * cols + c) * repeat;
            for (let i = at; i < at + repeat; i++) y[i] = value;
          }
        }
      }
    }
  }
}

export function pixel_table_f32(
  places: F32,
  samples: number,
  depth: number,
  height: number,
  width: number,
  first: number,
  sampleStep: number,
  depthStep: number,
  rowStep: number,
  step: number,
): void {
  const to = table(places);
  let t = 0;
  for (let n = 0; n < samples; n++) {
    for (let d = 0; d < depth; d++) {
      for (let h = 0; h < height; h++) {
        const row = first + n * sampleStep + d * depthStep + h * rowStep;
        for (let w = 0; w < width; w++) to[t++] = row + w * step;
      }
    }
  }
}

export function pack_taps_f32(
  w: F32,
  packed: F32,
  factors: Float64Array | null,
  depth: number,
  cols: number,
  depthStride: number,
  colStride: number,
  panelStride: number,
): void {
  for (let o = 0; o < Math.ceil(cols / 8) * 8; o++) {
    const factor = factors ? factors[o] : 1;
    let at = (o >>> 3) * panelStride + (o & 7);
    for (let k = 0; k < depth; k++, at += 8) packed[at] = o < cols ? w[k * depthStride + o * colStride] * factor : 0;
  }
}

export function sum_runs_f32(x: F32, y: F32, count: number, run: number): void {
  for (let i = 0; i < count; i++) {
    let sum = 0;
    for (let j = i * run; j < (i + 1) * run; j++) sum += x[j];
    y[i] = sum;
  }
}

export function winograd_nxc_f32(
  x: F32,
  packed: F32,
  bias: F32 | null,
  residual: F32 | null,
  y: F32,
  _work: F32,
  low: number,
  high: number,
  samples: number,
  height: number,
  width: number,
  depth: number,
  outHeight: number,
  outWidth: number,
  cols: number,
  pixel: number,
  top: number,
  left: number,
): void {
  let at = 0;
  for (let n = 0; n < samples; n++) {
    for (let i = 0; i < outHeight; i++) {
      for (let j = 0; j < outWidth; j++, at += pixel) {
        for (let o = 0; o < cols; o++) {
          let sum = 0;
          for (let k = 0; k < 9; k++) {
            const [row, col] = [i + Math.floor(k / 3) - top, j + (k % 3) - left];
            if (row < 0 || col < 0 || row >= height || col >= width) continue;
            const from = ((n * height + row) * width + col) * depth;
            let w = ((o >>> 3) * 9 + k) * depth * 8 + (o & 7);
            for (let c = from; c < from + depth; c++, w += 8) sum += x[c] * packed[w];
          }
          y[at + o] = clamp(sum + (bias ? bias[o] : 0) + (residual ? residual[at + o] : 0), low, high);
        }
      }
    }
  }
}

export function depthwise_rows_nxc_f32(
  x: F32,
  w: F32,
  bias: F32 | null,
  residual: F32 | null,
  y: F32,
  order: F32,
  low: number,
  high: number,
  rows: number,
  _samples: number,
  height: number,
  width: number,
  outHeight: number,
  outWidth: number,
  cols: number,
  kernelHeight: number,
  kernelWidth: number,
  strideHeight: number,
  strideWidth: number,
  top: number,
  left: number,
): void {
  for (const r of table(order).subarray(0, rows)) {
    const n = Math.floor(r / outHeight);
    const first = (r % outHeight) * strideHeight - top;
    for (let j = 0, at = r * outWidth * cols; j < outWidth; j++) {
      for (let c = 0; c < cols; c++, at++) {
        let sum = 0;
        for (let k = 0; k < kernelHeight; k++) {
          for (let l = 0; l < kernelWidth; l++) {
            const [row, col] = [first + k, j * strideWidth + l - left];
            if (row < 0 || col < 0 || row >= height || col >= width) continue;
            sum += x[((n * height + row) * width + col) * cols + c] * w[(k * kernelWidth + l) * cols + c];
          }
        }
        y[at] = clamp(sum + (bias ? bias[c] : 0) + (residual ? residual[at] : 0), low, high);
      }
    }
  }
}
