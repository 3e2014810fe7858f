// The speed of multiply-adds in registers: what matrix products are measured against.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { info } from '../src/index.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Loops, and how many chains of four lanes each has. */
const LOOPS = { peak8: 8, peak10: 10, peak12: 12 } as const;

type Exports = Record<keyof typeof LOOPS, (p: number, steps: number) => void>;

let built: Exports | undefined;

/** Compiles the loop for the build that runs. */
function build(): Exports {
  const target = info().backend === 'relaxed' ? 'relaxed' : 'simd';
  const compiler = `${ROOT}node_modules/assemblyscript/bin/asc.js`;
  execFileSync(process.execPath, [compiler, '--config', 'bench/assembly/asconfig.json', '--target', target], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  const memory = new WebAssembly.Memory({ initial: 1 });
  const module = new WebAssembly.Module(readFileSync(`${ROOT}build/peak.${target}.wasm`));
  const values = new Float32Array(memory.buffer, 64, 8);
  values.fill(0.999, 0, 4);
  values.fill(0.001, 4);
  return new WebAssembly.Instance(module, { env: { memory } }).exports as Exports;
}

/** Flops a second now: the best of several short runs of each loop, in turns. */
export function measurePeak(): number {
  built ??= build();
  let most = 0;
  for (let i = 0; i < 12; i++) {
    for (const [name, chains] of Object.entries(LOOPS)) {
      const steps = 1_000_000 / chains;
      const start = performance.now();
      built[name as keyof typeof LOOPS](64, steps);
      // a multiplication and an addition in four lanes of each chain
      most = Math.max(most, (8 * chains * steps) / ((performance.now() - start) / 1000));
    }
  }
  return most;
}
