// The export list: one line per kernel. Its rows stand in src/kernels/table.ts.
export { activate_f32 } from './kernels/activate';
export { activate_grad_f32 } from './kernels/activate-grad';
export { affine_ncx_f32 } from './kernels/affine-ncx';
export { affine_nxc_f32 } from './kernels/affine-nxc';
export { column_sums_f32 } from './kernels/column-sums';
export { dropout_f32 } from './kernels/dropout';
export { grad_input_ncx_f32 } from './kernels/grad-input-ncx';
export { grad_input_nxc_f32 } from './kernels/grad-input-nxc';
export { grad_stats_ncx_f32 } from './kernels/grad-stats-ncx';
export { grad_stats_nxc_f32 } from './kernels/grad-stats-nxc';
export { linear_f32 } from './kernels/linear';
export { pack_f32 } from './kernels/pack';
export { stats_ncx_f32 } from './kernels/stats-ncx';
export { stats_nxc_f32 } from './kernels/stats-nxc';
