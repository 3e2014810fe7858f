// The source on Vercel's and Next's edge, which compile every module that is imported before
// anything runs, on whatever Node is there: the relaxed build would end the worker where that does
// not know it.

import simd from './simd.wasm?module';
import { compiledSource } from './source.ts';

export const source = /* @__PURE__ */ compiledSource({ simd });
