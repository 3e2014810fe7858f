// What hosts need, from the npm registry or from Debian, into a folder that stays.

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Skipped, sh } from './host.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
export const root = fileURLToPath(new URL('../../', import.meta.url));
export const work = `${here}work/`;
/** A program with the package installed from its tarball, as a user has it. */
export const app = `${work}app/`;

/** Packs the package, and installs the tarball. */
export function installPackage(): void {
  mkdirSync(app, { recursive: true });
  for (const name of readdirSync(work)) if (name.endsWith('.tgz')) rmSync(work + name);
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', work], { cwd: root });
  const [tarball] = readdirSync(work).filter((name) => name.endsWith('.tgz'));
  rmSync(`${app}node_modules`, { recursive: true, force: true });
  writeFileSync(`${app}package.json`, JSON.stringify({ type: 'module', private: true }));
  const options = ['--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--silent', '--offline'];
  execFileSync('npm', ['install', ...options, `${work}${tarball}`], { cwd: app });
  copyFileSync(`${here}probe.mjs`, `${app}probe.mjs`);
  writeFileSync(`${app}main.mjs`, PROGRAM);
  writeFileSync(
    `${app}main.cjs`,
    "const k = require('evenkeel'), infer = require('evenkeel/infer'), { probe } = require('./probe.mjs');\nconsole.log(JSON.stringify(probe(k, infer)));\n",
  );
  writeFileSync(`${app}worker.mjs`, WORKER);
}

const PROGRAM = `import * as k from 'evenkeel';
import * as infer from 'evenkeel/infer';
import { probe } from './probe.mjs';
console.log(JSON.stringify(probe(k, infer)));
`;

const WORKER = `import * as k from 'evenkeel';
import * as infer from 'evenkeel/infer';
import { probe } from './probe.mjs';
export default {
  fetch() {
    try {
      return new Response(JSON.stringify(probe(k, infer)) + '\\n');
    } catch (error) {
      return new Response(String(error.stack ?? error), { status: 500 });
    }
  },
};
`;

/** Why the registry cannot be reached: said once, it is not asked again. */
let unreachable: string | undefined;

/**
 * The folder of packages from the npm registry, installed at the first call; skips where the
 * registry does not answer.
 */
export async function packages(folder: string, ...specs: string[]): Promise<string> {
  const to = `${work}${folder}/`;
  const names = specs.map((spec) => spec.replace(/(?<=.)@.*$/, ''));
  if (names.every((name) => existsSync(`${to}node_modules/${name}`))) return to;
  if (unreachable) throw new Skipped(unreachable);
  mkdirSync(to, { recursive: true });
  if (!existsSync(`${to}package.json`)) writeFileSync(`${to}package.json`, JSON.stringify({ private: true }));
  try {
    const options = [
      '--no-save',
      '--no-package-lock',
      '--no-audit',
      '--no-fund',
      '--fetch-timeout=30000',
      '--fetch-retries=1',
    ];
    await sh('npm', ['install', ...options, ...specs], {
      cwd: to,
      timeout: 300_000,
    });
  } catch (error) {
    const message = (error as Error).message;
    const why = `npm install ${specs.join(' ')} failed: ${message.split('\n')[0]}`;
    if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|timeout/i.test(message)) unreachable = why;
    throw new Skipped(why);
  }
  return to;
}

/** A program of Debian's, installed where it is missing and we may. */
export async function debian(file: string, name: string): Promise<string> {
  if (existsSync(file)) return file;
  if (process.getuid?.() !== 0) throw new Skipped(`${file} is missing (apt-get install ${name})`);
  try {
    await sh('apt-get', ['install', '-y', '--no-install-recommends', name], { timeout: 300_000 });
  } catch (error) {
    throw new Skipped(`apt-get install ${name} failed: ${(error as Error).message.split('\n')[0]}`);
  }
  if (!existsSync(file)) throw new Skipped(`${name} brings no ${file}`);
  return file;
}
