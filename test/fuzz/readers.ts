import type { Fuzzer } from './fuzzer.ts';
export const readers: Fuzzer = { about: 'x', prepare: () => ({ of: 'x', run: () => undefined }) };
