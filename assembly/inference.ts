// The kernels of inference: one line per kernel. Their rows stand in src/kernels/inference/table.ts.
export { activate_f32 } from './kernels/activate';
export { affine_ncx_f32 } from './kernels/affine-ncx';
export { affine_nxc_f32 } from './kernels/affine-nxc';
export { linear_f32 } from './kernels/linear';
export { pack_f32 } from './kernels/pack';
