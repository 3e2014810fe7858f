// What a run leaves behind: figures in bench/results/, and one report made of whatever figures are
// there.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { info } from '../src/index.ts';
import type { About, Results } from './figures.ts';
import { page } from './report.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
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
    commit: commit(),
    version: JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')).version,
    caches: caches(),
    memory: totalmem(),
    system: `${platform()} ${release()} ${arch()}`,
    v8: process.versions.v8,
    flags: [...process.execArgv, ...(process.env.NODE_OPTIONS?.split(/\s+/) ?? [])].filter(Boolean),
  };
}

/** The commit that is checked out; `+` where sources differ from it; `unknown` outside of git. */
function commit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    return git('rev-parse', 'HEAD') + (git('status', '--porcelain', '--', 'src', 'assembly', 'bench/*.ts') ? '+' : '');
  } catch {
    return 'unknown';
  }
}

/** The caches of the first core as Linux names them, such as `L2 1024K`; empty elsewhere. */
function caches(): string[] {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  if (!existsSync(folder)) return [];
  const read = (index: string, name: string) => readFileSync(`${folder}/${index}/${name}`, 'utf8').trim();
  return readdirSync(folder)
    .filter((name) => name.startsWith('index'))
    .filter((index) => read(index, 'type') !== 'Instruction')
    .map((index) => `L${read(index, 'level')} ${read(index, 'size')}`);
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

/** A file that is not there is made; a pipe or a device is written to as it is. */
const isPlain = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() ?? true;

const draftOf = (path: string) => `${path}.${process.pid}`;

/** Whoever looks meanwhile sees the old file or the new one. */
export function write(path: string, text: string): void {
  if (!isPlain(path)) {
    writeFileSync(path, text);
    return;
  }
  writeFileSync(draftOf(path), text);
  renameSync(draftOf(path), path);
}

/** Makes the folder of a file. Why the file cannot be written; undefined where it can. */
export function obstacle(path: string): string | undefined {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return 'a folder';
    mkdirSync(dirname(path), { recursive: true });
    if (!isPlain(path)) return undefined;
    writeFileSync(draftOf(path), '');
    rmSync(draftOf(path));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
