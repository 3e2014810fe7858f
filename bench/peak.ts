// The speed of multiply-adds in registers: what matrix products are measured against.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { info } from '../src/index.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

type Exports = { peak(p: number, steps: number): void; FLOPS: WebAssembly.Global };

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

/** Flops a second now: the best of several short runs. */
export function measurePeak(): number {
  built ??= build();
  const steps = 100_000;
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    built.peak(64, steps);
    best = Math.min(best, performance.now() - start);
  }
  return (built.FLOPS.value * steps) / (best / 1000);
}
