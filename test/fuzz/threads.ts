import type { Fuzzer } from './fuzzer.ts';
export const threads: Fuzzer = { about: 'x', prepare: () => ({ of: 'x', run: () => undefined }) };
