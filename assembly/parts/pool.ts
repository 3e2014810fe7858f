// Pooling: one line per kernel. Their rows stand in src/kernels/pool/table.ts.
export { avg_pool_f32 } from '../kernels/avg-pool';
export { max_pool_f32 } from '../kernels/max-pool';
