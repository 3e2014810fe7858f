// The tests of src/ on one backend, without a build: `npm run test:fast`. Only what is stale is
// made anew: parts of the kernels whose sources changed, and the lists that follow from others.
// Arguments go to vitest (`npm run test:fast -- graph`).

import { tool, writeLists, writeParts } from './kernels.mjs';

await writeLists(writeParts({ staleOnly: true }));
try {
  tool('vitest', 'vitest', 'run', '--project', 'simd', ...process.argv.slice(2));
} catch {
  process.exitCode = 1; // vitest has said why
}
