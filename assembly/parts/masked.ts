// Batches in which not every place counts: one line per kernel. Their rows stand in
// src/kernels/masked/table.ts.
export { masked_sums_ncx_f32 } from '../kernels/masked-sums-ncx';
export { masked_sums_nxc_f32 } from '../kernels/masked-sums-nxc';
export { weigh_ncx_f32 } from '../kernels/weigh-ncx';
export { weigh_nxc_f32 } from '../kernels/weigh-nxc';
