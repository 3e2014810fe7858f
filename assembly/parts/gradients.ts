// Gradients of convolutions' weights, and of pooling, for training alone: one line per kernel.
// Their rows stand in src/kernels/gradients/table.ts.
export { avg_pool_grad_f32 } from '../kernels/avg-pool-grad';
export { conv_weights_nxc_f32 } from '../kernels/conv-weights-nxc';
export { depthwise_weights_nxc_f32 } from '../kernels/depthwise-weights-nxc';
export { max_pool_grad_f32 } from '../kernels/max-pool-grad';
