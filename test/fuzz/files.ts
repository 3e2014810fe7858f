// Mutated files through every reader: bytes as they may have become on their way here.

import { complaint, kerasCases, readerCases } from '../support/readers.ts';
import type { Fuzzer } from './fuzzer.ts';
import { mutate } from './mutate.ts';

export const files: Fuzzer = {
  about: 'files with bytes changed, through every reader',
  prepare({ only, keras }) {
    const all = (keras ? kerasCases() : readerCases()).filter(({ name }) => name.includes(only));
    if (!all.length) throw new Error(`no file whose name has '${only}' in it`);
    return {
      of: `mutations of ${all.length} files`,
      async run(seed) {
        const one = all[seed % all.length];
        const wrong = await complaint(one, mutate(one.bytes, seed));
        return wrong && `${one.name}: ${wrong}`;
      },
    };
  },
};
