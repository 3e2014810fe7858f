// Builds dist/: kernels (asc, two builds) → base64 inside JavaScript → TypeScript. `prepare` runs it, so `npm ci` leaves a built package.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

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
for (const build of ['simd', 'relaxed']) {
  tool('assemblyscript', 'asc', '--target', build);
  const base64 = readFileSync(join(root, `dist/wasm/${build}.wasm`)).toString('base64');
  writeFileSync(join(root, `src/wasm/generated/${build}.ts`), `export default '${base64}';\n`);
}
tool('typescript', 'tsc', '-p', 'src');
copyFileSync(join(root, 'src/wasm/module.d.ts'), join(root, 'dist/wasm/module.d.ts'));
