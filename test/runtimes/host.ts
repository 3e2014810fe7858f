// What a host is, and how its answer is judged.

import { execFile } from 'node:child_process';
import type { AddressInfo, Server } from 'node:net';

export interface Run {
  backend: string;
  reason: string;
  bits: string;
  values: number[];
}

export interface Answer {
  best: Run;
  fixed: Run;
}

/** A way to run the probe. */
export interface Host {
  /** As it stands in the table: `Node 22, require`. */
  readonly name: string;
  /** Takes longer than CI should wait: with `--all` only. */
  readonly heavy?: boolean;
  /** Which backend it must find; the best of the host's own engine otherwise. */
  readonly backend?: 'js' | 'simd' | 'relaxed';
  /** What `info().reason` must say. */
  readonly reason?: RegExp;
  run(): Promise<Answer>;
}

/** A program that judges itself: throws what is wrong, returns its backend. */
export interface Example {
  readonly name: string;
  readonly heavy?: boolean;
  run(): Promise<string>;
}

/** What cannot be tried here, and why. */
export class Skipped extends Error {}

export interface Outcome {
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  readonly backend: string;
  readonly note: string;
  readonly seconds: number;
}

/** Runs a command to its end; what it printed. */
export function sh(
  file: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; timeout?: number } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const { timeout = 120_000, ...rest } = options;
    execFile(file, args, { maxBuffer: 1 << 26, timeout, killSignal: 'SIGKILL', ...rest }, (error, stdout, stderr) => {
      if (error)
        reject(
          new Error(
            `${file.split('/').at(-1)} ${args.join(' ').slice(0, 200)}: ${error.message.slice(0, 300)}\n${(stdout + stderr).slice(-1500)}`,
          ),
        );
      else resolve(stdout);
    });
  });
}

/** Listens on a port of the machine's choice, which it returns. */
export function listening(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** The answer among what a program printed. */
export function answerIn(text: string): Answer {
  const line = text.split('\n').find((some) => some.startsWith('{"best"'));
  if (!line) throw new Error(`no answer in: ${text.slice(0, 500)}`);
  return JSON.parse(line);
}

const TOLERANCE = 2e-5;

/** What is wrong with an answer; undefined where it is as it should be. */
export function judge({ best, fixed }: Answer, expected: Answer, { backend, reason }: Host): string | undefined {
  if (backend && best.backend !== backend) return `backend ${best.backend} (${best.reason}), expected ${backend}`;
  if (reason && !reason.test(best.reason)) return `reason: ${best.reason}`;
  if (fixed.backend === 'simd' && fixed.bits !== expected.fixed.bits)
    return `other bits on the fixed build: ${fixed.bits}`;
  if (fixed.backend !== (best.backend === 'js' ? 'js' : 'simd'))
    return `deterministic: ${fixed.backend} (${fixed.reason})`;
  for (const { values } of [best, fixed]) {
    if (values.length !== expected.fixed.values.length) return `${values.length} values`;
    const worst = Math.max(...values.map((value, i) => Math.abs(value - expected.fixed.values[i])));
    if (!(worst <= TOLERANCE)) return `values differ by ${worst}`;
  }
  return undefined;
}
