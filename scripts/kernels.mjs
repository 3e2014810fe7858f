// Kernels, from assembly/ to modules: the parts as text for src/wasm/generated/, and all of them
// in one module for dist/wasm/.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fixedOf, labelled } from '../assembly/packer/fixed.mjs';
import { checkPacked, pack } from '../assembly/packer/pack.mjs';
import { listOf, partsOf, sourcesOf } from './lists.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const inRoot = (...parts) => join(root, ...parts);
const read = (file) => readFileSync(inRoot(file));

/** Runs a command of a development dependency; the command has the package's name, or `command`. */
export function tool(name, command, ...args) {
  const manifest = require.resolve(`${name}/package.json`);
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'));
  const script = join(dirname(manifest), typeof bin === 'string' ? bin : (bin[command] ?? Object.values(bin)[0]));
  execFileSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' });
}

/** asconfig.json has the options, and the entry of the whole module. */
function configured() {
  const { entries, ...config } = JSON.parse(read('asconfig.json'));
  mkdirSync(inRoot('build'), { recursive: true });
  writeFileSync(inRoot('build/asconfig.json'), JSON.stringify(config));
  return entries[0];
}

function compile(entry, target, folder, ...options) {
  const file = join(folder, `${target}-${entry.replace(/\W+/g, '-')}.wasm`);
  const output = ['--outFile', relative(root, file)];
  tool('assemblyscript', 'asc', entry, '--config', 'build/asconfig.json', '--target', target, ...output, ...options);
  return readFileSync(file);
}

/** Both builds of all kernels, and the label that says which release they belong to. */
export function wholeModules(folder = inRoot('build')) {
  const { version } = JSON.parse(read('package.json'));
  const relaxed = compile(configured(), 'relaxed', folder);
  const label = `${version} ${createHash('sha256').update(relaxed).digest('hex').slice(0, 8)}`;
  const { fixed } = fixedOf(relaxed);
  return { label, simd: labelled(fixed, `simd ${label}`), relaxed: labelled(relaxed, `relaxed ${label}`) };
}

const generate = (name, text) => {
  const file = inRoot('src', `${name}.ts`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
};
export const generateValue = (name, value) =>
  generate(`wasm/generated/${name}`, `export default ${JSON.stringify(value)} as const;\n`);

// one f32x4.relaxed_madd, of three zeros
const PROBE = '0061736d010000000105016000017b030201000a130111004100fd0f4100fd0f4100fd0ffd85020b';

/**
 * Writes the parts, and the module that unpacks them. With `staleOnly`, a part stays if its sources
 * have not changed since it was written.
 */
export function writeParts({ staleOnly = false } = {}) {
  const record = inRoot('build/kernels.json');
  const made = staleOnly && existsSync(record) ? JSON.parse(readFileSync(record, 'utf8')) : {};
  const note = (name, hash) => {
    made[name] = hash;
    writeFileSync(record, JSON.stringify(made, null, 2));
  };
  const write = (name, entry, make) => {
    const hash = sourcesHash(entry);
    if (made[name] === hash && existsSync(inRoot(`src/wasm/generated/${name}.ts`))) return;
    if (staleOnly) console.log(`${name}: its kernels changed`);
    note(name, undefined); // nothing is known of a part whose compilation fails
    generateValue(name, make());
    note(name, hash);
  };
  configured();
  const unpack = 'assembly/packer/unpack.ts';
  write('unpack', unpack, () => compile(unpack, 'simd', inRoot('build'), '--shrinkLevel', '2').toString('hex'));
  generateValue('probe', PROBE);
  const unpacker = readFileSync(inRoot('build/simd-assembly-packer-unpack-ts.wasm'));
  const parts = partsOf(root);
  for (const part of parts) {
    const entry = `assembly/parts/${part}.ts`;
    write(part, entry, () => {
      const builds = fixedOf(compile(entry, 'relaxed', inRoot('build')));
      const [size, text] = pack(builds.fixed);
      return [size, checkPacked(unpacker, [size, text], builds), text];
    });
  }
  return parts;
}

/** Writes the sources of parts by host, and the public lists with kernels. */
export async function writeLists(parts) {
  for (const [host, text] of Object.entries(sourcesOf(parts))) generate(`wasm/generated/${host}`, text);
  generate('generated/index', await listOf(root, 'js.ts'));
  generate('generated/infer', await listOf(root, 'infer/list.ts'));
  generate('generated/models', await listOf(root, 'models/list.ts'));
}

/** A hash of all that a part is made of: the files that its entry imports, options and tools. */
function sourcesHash(entry) {
  const hash = createHash('sha256');
  const tools = [
    'asconfig.json',
    'assembly/packer/unpack.ts',
    'scripts/kernels.mjs',
    ...['fixed', 'pack'].map((name) => `assembly/packer/${name}.mjs`),
  ];
  for (const file of [...importsOf(entry), ...tools]) hash.update(file).update(read(file));
  return hash.update(require('assemblyscript/package.json').version).digest('hex');
}

/** A file and what it imports, in the order of their names. */
function importsOf(entry) {
  const found = new Set();
  const visit = (file) => {
    if (found.has(file)) return;
    found.add(file);
    for (const [, path] of String(read(file)).matchAll(/\bfrom '(\.[^']+)'/g)) {
      const target = relative(root, resolve(dirname(inRoot(file)), path));
      visit(target.endsWith('.ts') ? target : `${target}.ts`);
    }
  };
  visit(entry);
  return [...found].sort();
}
