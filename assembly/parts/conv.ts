// Convolutions: one line per kernel. Their rows stand in src/kernels/conv/table.ts.
export { conv_nxc_f32 } from '../kernels/conv-nxc';
export { decode_bytes_f32 } from '../kernels/decode-bytes';
export { depthwise_nxc_f32 } from '../kernels/depthwise-nxc';
export { depthwise_rows_nxc_f32 } from '../kernels/depthwise-rows-nxc';
export { pack_taps_f32 } from '../kernels/pack-taps';
export { pad_nxc_f32 } from '../kernels/pad-nxc';
export { pixel_table_f32 } from '../kernels/pixel-table';
export { sum_runs_f32 } from '../kernels/sum-runs';
export { winograd_nxc_f32 } from '../kernels/winograd-nxc';
