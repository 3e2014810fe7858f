// The plain loops of these gradients; see ../inference/js.ts.

import { table } from '../conv/js.ts';
import { eachPlace, largest, NO_DILATION } from '../pool/js.ts';

type F32 = Float32Array;

export function conv_weights_nxc_f32(
  x: F32,
  dy: F32,
  at: F32,
  to: F32,
  taps: F32,
  dw: F32,
  count: number,
  runs: number,
  run: number,
  cols: number,
): void {
  const [from, given, tap] = [at, to, taps].map(table);
  let w = 0;
  for (let panel = 0; panel < cols; panel += 8) {
    for (let r = 0; r < runs; r++) {
      for (let j = tap[r]; j < tap[r] + run; j++) {
        for (let o = panel; o < panel + 8; o++) {
          let sum = 0;
          if (o < cols) for (let t = 0; t < count; t++) sum += x[from[t] + j] * dy[given[t] + o];
          dw[w++] = sum;
        }
      }
    }
  }
}

export function depthwise_weights_nxc_f32(
  x: F32,
  dy: F32,
  at: F32,
  to: F32,
  taps: F32,
  dw: F32,
  count: number,
  runs: number,
  cols: number,
): void {
  const [from, given, tap] = [at, to, taps].map(table);
  for (let r = 0; r < runs; r++) {
    for (let c = 0; c < cols; c++) {
      let sum = 0;
      for (let t = 0; t < count; t++) sum += x[from[t] + tap[r] + c] * dy[given[t] + c];
      dw[r * cols + c] = sum;
    }
  }
}

export function max_pool_grad_f32(
  x: F32,
  windows: F32,
  dy: F32,
  dx: F32,
  outer: number,
  channels: number,
  ...sizes: number[]
): void {
  const places = largest(x, windows, outer, channels, sizes.slice(0, 3), sizes.slice(3, 6), sizes.slice(6));
  dx.fill(0, 0, outer * channels * sizes[0] * sizes[1] * sizes[2]);
  for (let o = 0; o < places.length; o++) if (places[o] >= 0) dx[places[o]] += dy[o];
}

export function avg_pool_grad_f32(
  dy: F32,
  windows: F32,
  dx: F32,
  outer: number,
  channels: number,
  ...sizes: number[]
): void {
  const input = sizes.slice(0, 3);
  const sums = new Float64Array(input.reduce((product, length) => product * length, outer * channels));
  eachPlace(windows, outer, channels, input, sizes.slice(3, 6), NO_DILATION, (place, o, divisor) => {
    sums[place] += dy[o] / divisor;
  });
  dx.set(sums);
}
