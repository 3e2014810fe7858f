// The forward map: one line per kernel. Their rows stand in src/kernels/inference/table.ts.
export { activate_f32 } from '../kernels/activate';
export { affine_ncx_f32 } from '../kernels/affine-ncx';
export { affine_nxc_f32 } from '../kernels/affine-nxc';
