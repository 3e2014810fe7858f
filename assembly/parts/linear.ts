// Products, and the checksum of files that hold them: one line per kernel. Their rows stand in
// src/kernels/linear/table.ts.
export { byte_sums_f32 } from '../kernels/byte-sums';
export { linear_f32 } from '../kernels/linear';
export { pack_f32 } from '../kernels/pack';
