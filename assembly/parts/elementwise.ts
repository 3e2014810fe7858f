// Products and softmax: one line per kernel. Their rows stand in src/kernels/elementwise/table.ts.
export { multiply_f32 } from '../kernels/multiply';
export { softmax_grad_rows_f32 } from '../kernels/softmax-grad-rows';
export { softmax_rows_f32 } from '../kernels/softmax-rows';
