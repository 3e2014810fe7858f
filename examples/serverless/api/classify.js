// A Vercel edge function. The package's condition `edge-light` imports its module as the edge wants
// it: `./simd.wasm?module`.

import { respond } from '../shared/classify.js';

export const config = { runtime: 'edge' };

export default respond;
