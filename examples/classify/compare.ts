// Size, start and time per image, here and with TF.js: each library in a process of its own.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { modelBytes } from './model.ts';
import { pageFiles } from './page/files.ts';
import { hasTfjs, wasmFolder } from './tfjs.ts';

interface Measured {
  readonly start: number;
  readonly image: number;
}

/** Rounds of both in turns; the medians are shown. */
const ROUNDS = 3;

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1];
const kilobytes = (bytes: number) => `${Math.round(bytes / 1000).toLocaleString('en')} kB`;
const milliseconds = (ms: number) => `${ms.toFixed(ms < 100 ? 1 : 0)} ms`;

function measured(who: string): Measured {
  const script = fileURLToPath(new URL('./measure.ts', import.meta.url));
  const text = execFileSync(process.execPath, [...process.execArgv, script, who], {
    encoding: 'utf8',
    // the loader of this process is no other's
    env: { ...process.env, EVENKEEL_HOOKS: '' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return JSON.parse(text.trim().split('\n').at(-1)!) as Measured;
}

/** Bytes of a library's code as a page asks for it, packed as a server would. */
async function sizes(): Promise<{ evenkeel: number; tfjs: number }> {
  const files = await pageFiles();
  const packed = (name: string) => (files.has(name) ? gzipSync(files.get(name)!).length : 0);
  const wasm = hasTfjs() ? gzipSync(readFileSync(join(wasmFolder(), 'tfjs-backend-wasm-simd.wasm'))).length : 0;
  return { evenkeel: packed('evenkeel.js'), tfjs: packed('tfjs.js') + wasm };
}

/** The table. */
export async function compared(): Promise<string> {
  const names = ['evenkeel', ...(hasTfjs() ? ['tfjs'] : [])] as ('evenkeel' | 'tfjs')[];
  const code = await sizes();
  const runs = Array.from({ length: ROUNDS }, () => names.map(measured));
  const rows = names.map((name, i) => {
    const own = (what: keyof Measured) => milliseconds(median(runs.map((round) => round[i][what])));
    return `| ${name === 'tfjs' ? 'TF.js, wasm' : 'evenkeel'} | ${kilobytes(code[name])} | ${own('start')} | ${own('image')} |`;
  });
  const lines = ['| | code, gzip | start to the first answer | an image |', '|---|---|---|---|', ...rows];
  const note = hasTfjs() ? [] : ['', 'TF.js is not installed: npm run bench:peers installs it.'];
  return [...lines, ...note, '', `The model: ${kilobytes(modelBytes())} for both.`].join('\n');
}
