// The plain loops of products and softmax; see ../inference/js.ts.

type F32 = Float32Array;

export function multiply_f32(x: F32, w: F32, y: F32, size: number): void {
  for (let i = 0; i < size; i++) y[i] = x[i] * w[i];
}

export function softmax_rows_f32(x: F32, y: F32, log: number, rows: number, cols: number): void {
  for (let r = 0; r < rows; r++) {
    const start = r * cols;
    const end = start + cols;
    let most = Number.NEGATIVE_INFINITY;
    for (let i = start; i < end; i++) if (x[i] > most) most = x[i];
    let sum = 0;
    for (let i = start; i < end; i++) sum += Math.exp(x[i] - most);
    const shift = Math.log(sum);
    for (let i = start; i < end; i++) y[i] = log ? x[i] - most - shift : Math.exp(x[i] - most) / sum;
  }
}

export function softmax_grad_rows_f32(y: F32, dy: F32, dx: F32, log: number, rows: number, cols: number): void {
  for (let r = 0; r < rows; r++) {
    const start = r * cols;
    const end = start + cols;
    let sum = 0;
    for (let i = start; i < end; i++) sum += log ? dy[i] : dy[i] * y[i];
    for (let i = start; i < end; i++) dx[i] = log ? dy[i] - Math.exp(y[i]) * sum : y[i] * (dy[i] - sum);
  }
}
