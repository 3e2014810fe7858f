// The tests of src/ on one backend, without a build: `npm run test:fast`. Only what is stale is
// made anew: parts of the kernels whose sources changed, and the lists that follow from others.
// Arguments go to vitest (`npm run test:fast -- graph`).

import { availableParallelism } from 'node:os';
import { tool, writeLists, writeParts } from './kernels.mjs';

await writeLists(writeParts({ staleOnly: true }));
try {
  // on every core: nothing else runs beside
  tool(
    'vitest',
    'vitest',
    'run',
    '--project',
    'simd',
    `--maxWorkers=${availableParallelism()}`,
    ...process.argv.slice(2),
  );
} catch {
  process.exitCode = 1; // vitest has said why
}
