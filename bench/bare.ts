// The loops of bench/assembly, compiled for the build that runs: nothing of the library is in them.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { info } from '../src/index.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

type Chain = (p: number, steps: number) => void;
export type Design = (
  x: number,
  y: number,
  sums: number,
  outer: number,
  channels: number,
  inner: number,
  slab: number,
) => void;

export interface Bare {
  readonly memory: WebAssembly.Memory;
  /** From here on memory is free. */
  readonly free: number;
  readonly loops: Record<'peak8' | 'peak10' | 'peak12', Chain> &
    Record<'cycles' | 'integers' | 'additions' | 'multiplications' | 'loads' | 'stores', Chain> &
    Record<'slabs' | 'backwards' | 'turns' | 'interleaved', Design> & {
      copy(from: number, to: number, bytes: number): void;
    };
}

let built: Bare | undefined;

export function bare(): Bare {
  built ??= build();
  return built;
}

function build(): Bare {
  const target = info().backend === 'relaxed' ? 'relaxed' : 'simd';
  const compiler = `${ROOT}node_modules/assemblyscript/bin/asc.js`;
  execFileSync(process.execPath, [compiler, '--config', 'bench/assembly/asconfig.json', '--target', target], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  const memory = new WebAssembly.Memory({ initial: 1 });
  const module = new WebAssembly.Module(readFileSync(`${ROOT}build/loops.${target}.wasm`));
  return { memory, free: 1024, loops: new WebAssembly.Instance(module, { env: { memory } }).exports as Bare['loops'] };
}
