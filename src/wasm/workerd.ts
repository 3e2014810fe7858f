// The source on Cloudflare's workers, which compile no bytes but hand over modules compiled before:
// the whole ones, for each part.

import relaxed from './relaxed.wasm';
import simd from './simd.wasm';
import { compiledSource } from './source.ts';

export const source = /* @__PURE__ */ compiledSource({ simd, relaxed });
