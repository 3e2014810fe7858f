// Processes that measure, one after the other. Each runs the bundled program, so that what is kept
// for later runs is what was measured.

import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';
import { build } from 'esbuild';
import { type Row, rowOf } from './figures.ts';
import type { Order } from './program.ts';
import { merged } from './timing.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** The program of this checkout, as one module. */
export async function bundled(): Promise<string> {
  const { outputFiles } = await build({
    ...{ entryPoints: [`${ROOT}bench/program.ts`], tsconfig: `${ROOT}tsconfig.json`, write: false },
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'es2022', minify: true, logLevel: 'error' },
  });
  return outputFiles[0].text;
}

/** As a file keeps it. */
export const packed = (program: string): string => brotliCompressSync(program).toString('base64');

/** Throws where the text is of another kind. */
export const unpacked = (text: string): string => brotliDecompressSync(Buffer.from(text, 'base64')).toString();

let files = 0;

/** A file for as long as this process lives, as deep in the project as the bench. */
function fileOf(program: string): string {
  const file = `${ROOT}build/bench-${process.pid}-${files++}.mjs`;
  mkdirSync(`${ROOT}build`, { recursive: true });
  process.once('exit', () => rmSync(file, { force: true }));
  writeFileSync(file, program);
  return file;
}

/**
 * Measures in `order.processes` processes, each with all cases, and hands over each row as soon as
 * it is known.
 *
 * @param before the program of an earlier run, which takes turns with this one
 * @param progress is told of the cases that are done, where rows come at the end only
 */
export async function measure(
  order: Omit<Order, 'process' | 'before'>,
  program: string,
  before: string | undefined,
  take: (row: Row) => void,
  progress: (process: number, done: number) => void,
): Promise<void> {
  // an end by a signal is an exit as well, which removes the files
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
  const file = fileOf(program);
  const whole = { ...order, ...(before !== undefined && { before: fileOf(before) }) };
  if (order.processes === 1) return part(file, { ...whole, process: 0 }, take);
  const parts: Row[][] = [];
  for (let i = 0; i < order.processes; i++) {
    const rows: Row[] = [];
    await part(file, { ...whole, process: i }, (row) => progress(i, rows.push(row)));
    parts.push(rows);
  }
  for (const i of parts[0].keys()) take(together(parts.map((rows) => rows[i])));
}

/** The rows of one case in several processes as one. */
function together(rows: readonly Row[]): Row {
  const names = Object.keys(rows[0].times) as (keyof Row['times'])[];
  const times = names.map((name) => [name, merged(rows.map(({ times }) => times[name]!))]);
  const peaks = rows.map(({ peak }) => peak ?? 0);
  return rowOf(rows[0], { ...rows[0], times: Object.fromEntries(times), peak: Math.max(...peaks) || undefined });
}

const START = 'const [file, order] = process.argv.slice(-2); import(file).then(({ run }) => run(JSON.parse(order)));';

function part(file: string, order: Order, take: (row: Row) => void): Promise<void> {
  const args = ['--input-type=module', '--eval', START, pathToFileURL(file).href, JSON.stringify(order)];
  const { EVENKEEL_HOOKS, ...env } = process.env; // hooks for TypeScript are registered anew
  const child = spawn(process.execPath, [...process.execArgv, ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (text + chunk).split('\n');
    text = lines.pop()!;
    for (const one of lines) if (one.startsWith('{"op"')) take(JSON.parse(one));
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) return resolve();
      // it has said why, unless it was killed
      if (code === null) console.error('a process of the bench was killed');
      process.exit(code ?? 1);
    });
  });
}
