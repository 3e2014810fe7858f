// What a run leaves behind: figures in bench/results/, and one report made of whatever figures are
// there.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { info } from '../src/index.ts';
import type { About, Results } from './figures.ts';
import { page } from './report.ts';

const FOLDER = fileURLToPath(new URL('./results', import.meta.url));
const REPORT = fileURLToPath(new URL('./report.html', import.meta.url));

export function about(): About {
  const { backend, threads } = info();
  return {
    machine: `${cpus()[0].model.trim()}, ${cpus().length} cores`,
    node: process.version,
    backend,
    threads,
    date: new Date().toISOString().slice(0, 10),
  };
}

/** Keeps the figures of one kind of run, and makes the report anew. Returns its path. */
export function keep<K extends keyof Results>(kind: K, results: NonNullable<Results[K]>): string {
  mkdirSync(FOLDER, { recursive: true });
  write(`${FOLDER}/${kind}.json`, `${JSON.stringify(results, null, 2)}\n`);
  const all: Results = {};
  for (const name of ['own', 'peers'] as const) {
    const path = `${FOLDER}/${name}.json`;
    if (existsSync(path)) all[name] = JSON.parse(readFileSync(path, 'utf8'));
  }
  write(REPORT, page(all));
  return REPORT;
}

/** Whoever looks meanwhile sees the old file or the new one. */
export function write(path: string, text: string): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, text);
  renameSync(draft, path);
}
