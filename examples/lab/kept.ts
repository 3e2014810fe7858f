// Results of whole runs, kept in `results.json` with what they came from. A result counts as long
// as the code that made it stays the same.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import type { Result } from './experiment.ts';

/** What a result came from. */
export interface About {
  /** Of the library. */
  readonly version: string;
  readonly commit: string;
  readonly node: string;
  readonly cpu: string;
  readonly date: string;
  readonly seeds: readonly number[];
  /** In how many of so many further seeds, each alone, the claim held. */
  readonly check: { readonly held: number; readonly of: number };
}

export interface Kept {
  readonly about: About;
  readonly result: Result;
}

const FILE = new URL('results.json', import.meta.url);
/** What experiments share. */
const SHARED = ['training', 'grid', 'images'];

/** A tagged template as esbuild lowers it: its words in an array. */
const WORDS = /__template\((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[\s,[\]])*\)/g;

/**
 * Of the code of an experiment and of what it trains with. Comments, white space and the words of
 * sentences do not count; which values a sentence has does.
 */
export function fingerprint(name: string): string {
  const hash = createHash('sha256');
  for (const file of [name, ...SHARED]) {
    const source = readFileSync(new URL(`${file}.ts`, import.meta.url), 'utf8');
    hash.update(wordless(source));
  }
  return hash.digest('hex').slice(0, 16);
}

export function wordless(source: string): string {
  const options = { loader: 'ts', charset: 'utf8' } as const;
  const { code } = transformSync(source, { ...options, supported: { 'template-literal': false } });
  return transformSync(code.replace(WORDS, '__template()'), { ...options, minify: true }).code;
}

type Records = Record<string, Kept & { readonly fingerprint: string }>;

const readAll = (): Records => (existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8'), revived) : {});

/** What JSON has no word for is written as null. */
const revived = (key: string, value: unknown) =>
  key === 'y' || key === 'low' || key === 'high'
    ? (value as (number | null)[]).map((one) => one ?? Number.NaN)
    : value === null
      ? undefined
      : value;

/** The kept results of these experiments that are still those of their code. */
export function readKept(names: readonly string[]): Record<string, Kept> {
  const all = readAll();
  return Object.fromEntries(
    names.filter((name) => all[name]?.fingerprint === fingerprint(name)).map((name) => [name, all[name]]),
  );
}

/** Keeps one result beside the others. */
export function keep(name: string, kept: Kept): void {
  const all = { ...readAll(), [name]: { fingerprint: fingerprint(name), ...kept } };
  const lines = Object.keys(all)
    .sort()
    .map((one) => `${JSON.stringify(one)}: ${JSON.stringify(all[one], rounded)}`);
  writeFileSync(FILE, `{\n${lines.join(',\n')}\n}\n`);
}

/** Five digits are more than a picture shows. */
const rounded = (_: string, value: unknown) =>
  typeof value === 'number' && Number.isFinite(value)
    ? Number(value.toPrecision(5))
    : value === undefined
      ? null
      : value;

/** Where a run is made now. */
export function here(): Pick<About, 'version' | 'commit' | 'node' | 'cpu' | 'date'> {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
  const git = (...args: string[]) => {
    try {
      return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    } catch {
      return '';
    }
  };
  const commit = git('rev-parse', '--short=10', 'HEAD') || 'unknown';
  const [cpu] = cpus();
  return {
    version,
    commit: git('status', '--porcelain', 'src', 'assembly') ? `${commit}+` : commit,
    node: process.version,
    cpu: cpu ? cpu.model.trim() : 'unknown',
    date: new Date().toISOString().slice(0, 10),
  };
}
