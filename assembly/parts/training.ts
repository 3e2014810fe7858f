// The kernels that only training needs: one line per kernel. Their rows stand in
// src/kernels/training/table.ts.
export { activate_grad_f32 } from '../kernels/activate-grad';
export { column_sums_f32 } from '../kernels/column-sums';
export { dropout_f32 } from '../kernels/dropout';
export { grad_input_ncx_f32 } from '../kernels/grad-input-ncx';
export { grad_input_nxc_f32 } from '../kernels/grad-input-nxc';
export { grad_stats_ncx_f32 } from '../kernels/grad-stats-ncx';
export { grad_sums_nxc_f32 } from '../kernels/grad-sums-nxc';
export { grad_totals_nxc_f32 } from '../kernels/grad-totals-nxc';
export { moments_nxc_f32 } from '../kernels/moments-nxc';
export { pivot_nxc_f32 } from '../kernels/pivot-nxc';
export { stats_ncx_f32 } from '../kernels/stats-ncx';
export { sums_nxc_f32 } from '../kernels/sums-nxc';
