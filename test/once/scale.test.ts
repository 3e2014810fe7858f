// What starts shards on machines: the example's Slurm array, its Kubernetes manifest and its
// brokers.

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { type Manifest, runShards, type ShardTask } from '../../src/shards/index.ts';
import { missingSlurm, startSlurm } from '../support/slurm.ts';

const example = (name: string) => fileURLToPath(new URL(`../../examples/scale/${name}`, import.meta.url));
const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
afterAll(() => rmSync(folder, { recursive: true }));

const whole: Manifest = JSON.parse(readFileSync(example('manifest.json'), 'utf8'));
const why = missingSlurm();

test.skipIf(why)(`a Slurm array gives the bytes of a run in this process${why ? `: ${why}` : ''}`, async () => {
  const { default: task } = (await import(/* @vite-ignore */ pathToFileURL(example('task.mjs')).href)) as {
    default: ShardTask;
  };
  const manifest = { task: example('task.mjs'), shards: whole.shards.slice(0, 6) };
  const [file, parts, result] = ['manifest.json', 'parts', 'result'].map((name) => join(folder, name));
  writeFileSync(file, JSON.stringify(manifest));
  const { config, stop } = await startSlurm();
  try {
    const env = { ...process.env, SLURM_CONF: config, EVENKEEL: `${process.execPath} ${cli}` };
    await promisify(execFile)(example('slurm.sh'), [file, parts, result], { env, timeout: 300_000 });
  } finally {
    await stop();
  }
  expect(Uint8Array.from(readFileSync(result))).toEqual(task.encode(await runShards(manifest, task)));
});

test('the Kubernetes job has as many completions as the manifest has shards, and commands that exist', () => {
  const text = readFileSync(example('kubernetes.yaml'), 'utf8');
  expect(text).toContain(`completions: ${whole.shards.length}\n`);
  const help = readFileSync(fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url)), 'utf8');
  for (const [, command] of text.matchAll(/evenkeel['"]?,? ['"]?(shard|merge)/g))
    expect(help).toContain(`evenkeel ${command}`);
  expect(text).toContain('npx evenkeel shard manifest.json "$JOB_COMPLETION_INDEX" --store /parts');
});

test('the brokers keep what they are told', () => {
  const text = readFileSync(example('compose.yaml'), 'utf8');
  expect(text).toContain('--appendonly yes');
  expect(text).toContain('--maxmemory-policy noeviction');
});
