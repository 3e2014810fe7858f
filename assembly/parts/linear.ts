// Products: one line per kernel. Their rows stand in src/kernels/linear/table.ts.
export { linear_f32 } from '../kernels/linear';
export { pack_f32 } from '../kernels/pack';
