// Norms of rows, each by its own statistics: one line per kernel. Their rows stand in
// src/kernels/rows/table.ts.
export { grad_rows_f32 } from '../kernels/grad-rows';
export { norm_rows_f32 } from '../kernels/norm-rows';
