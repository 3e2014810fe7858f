// Builds dist/: kernels (asc, two builds) → text inside JavaScript, part by part → TypeScript. `prepare` runs it, so `npm ci` leaves a built
// package.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pack } from './pack.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);

function tool(name, ...args) {
  const manifest = require.resolve(`${name}/package.json`);
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'));
  const script = join(dirname(manifest), typeof bin === 'string' ? bin : (bin[args[0]] ?? Object.values(bin)[0]));
  execFileSync(process.execPath, [script, ...args.slice(1)], { cwd: root, stdio: 'inherit' });
}

rmSync(join(root, 'dist'), { recursive: true, force: true });
mkdirSync(join(root, 'src/wasm/generated'), { recursive: true });
for (const build of ['simd', 'relaxed']) tool('assemblyscript', 'asc', '--target', build);

// the same options, without the entry that holds all kernels
const { entries: _, ...config } = JSON.parse(readFileSync(join(root, 'asconfig.json'), 'utf8'));
mkdirSync(join(root, 'build'), { recursive: true });
writeFileSync(join(root, 'build/asconfig.json'), JSON.stringify(config));
for (const part of ['inference', 'training']) {
  const [simd, relaxed] = ['simd', 'relaxed'].map((build) => {
    const file = `build/${part}-${build}.wasm`;
    const entry = `assembly/${part}.ts`;
    tool('assemblyscript', 'asc', entry, '--config', 'build/asconfig.json', '--target', build, '--outFile', file);
    return readFileSync(join(root, file));
  });
  const text = `export default ${JSON.stringify(pack(simd, relaxed))} as const;\n`;
  writeFileSync(join(root, `src/wasm/generated/${part}.ts`), text);
}
// the library knows no Node; the command line does
for (const project of ['src', 'src/cli']) tool('typescript', 'tsc', '-p', project);
copyFileSync(join(root, 'src/wasm/module.d.ts'), join(root, 'dist/wasm/module.d.ts'));
