// Builds dist/: kernels (asc) → the fixed build out of the relaxed one → text inside JavaScript,
// part by part → a few modules of JavaScript and their types. `prepare` runs it, so `npm ci` leaves
// a built package.

import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { internalMembers, withoutInternal } from './internal.mjs';
import { generateValue, tool, wholeModules, writeLists, writeParts } from './kernels.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const inRoot = (...parts) => join(root, ...parts);

for (const folder of ['dist', 'src/generated', 'src/wasm/generated', 'build'])
  rmSync(inRoot(folder), { recursive: true, force: true });
for (const folder of ['dist/wasm', 'src/generated', 'src/wasm/generated', 'build'])
  mkdirSync(inRoot(folder), { recursive: true });

const parts = writeParts();
const { label, simd, relaxed } = wholeModules();
generateValue('label', label);
writeFileSync(inRoot('dist/wasm/simd.wasm'), simd);
writeFileSync(inRoot('dist/wasm/relaxed.wasm'), relaxed);

await writeLists(parts);

// the library knows no Node; the command line does
for (const project of ['src', 'src/cli']) tool('typescript', 'tsc', '-p', project, '--noEmit');

/** Modules of JavaScript, minified: one for each entry, and what they share in others. */
async function bundle(entries, from, to, external) {
  const { outputFiles } = await build({
    entryPoints: entries.map((name) => inRoot(from, `${name}.ts`)),
    outdir: inRoot(to),
    bundle: true,
    splitting: true,
    chunkNames: 'shared/[hash]',
    format: 'esm',
    platform: 'neutral',
    target: 'es2022',
    minifyIdentifiers: true,
    minifySyntax: true,
    legalComments: 'none',
    external,
    write: false,
  });
  for (const { path, text } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true });
    // lines, as a host prints the one in which an error was thrown; spaces go together with
    // comments, among them those that mark calls as pure, by which bundlers leave out what is not
    // used: they wait as an operand
    const { code } = await transform(text.replaceAll('/* @__PURE__ */', 'PURE|'), {
      minifyWhitespace: true,
      lineLimit: 200,
    });
    // no line ends behind a mark: `return` alone on its line would return nothing
    const annotated = code
      .replace(/PURE\|\s*/g, '/*@__PURE__*/')
      .replaceAll('import([', 'import(/* @vite-ignore *//* webpackIgnore: true */[');
    // classes keep their names: engines put those into their own errors ("Class constructor
    // BatchNorm cannot be invoked …")
    const named = annotated.replace(
      /=class(?=( extends [\w$]+)?\{static name="(?:\\\n)?(\w+)")/g,
      (_, __, name) => `=class ${name}`,
    );
    // an import for its effects alone, where nothing has any
    writeFileSync(path, named.replace(/(?<=^|;)import"[^"]*";/g, ''));
  }
}
await bundle(
  [
    'js',
    'index',
    'infer/index',
    'weights/index',
    'models/index',
    'pool/index',
    'pool/worker',
    'shards/index',
    'cli/main',
    'cli/hdf5-worker',
  ],
  'src',
  'dist',
  ['#wasm', 'node:*'],
);
for (const source of ['inline', 'workerd', 'edge-light'])
  await bundle([source], 'src/wasm/generated', 'dist/wasm', ['*.wasm', '*.wasm?module']);
copyFileSync(inRoot('src/wasm/module.d.ts'), inRoot('dist/wasm/module.d.ts'));

const types = await rollup({
  input: {
    js: inRoot('src/js.ts'),
    'infer/index': inRoot('src/infer/list.ts'),
    'weights/index': inRoot('src/weights/index.ts'),
    'models/index': inRoot('src/models/list.ts'),
    'pool/index': inRoot('src/pool/index.ts'),
    'shards/index': inRoot('src/shards/index.ts'),
  },
  external: ['#wasm'],
  plugins: [dts({ tsconfig: inRoot('src/tsconfig.json') })],
});
const { output } = await types.generate({
  format: 'es',
  entryFileNames: '[name].d.ts',
  chunkFileNames: 'shared/[name].d.ts',
});
const internal = internalMembers(inRoot('src'));
for (const { fileName, code } of output) {
  // TypeScript reads references at the top of a file alone
  const reference = /^\/\/\/ <reference .*\n/gm;
  const references = [...new Set(code.match(reference))].join('');
  mkdirSync(dirname(inRoot('dist', fileName)), { recursive: true });
  writeFileSync(inRoot('dist', fileName), references + withoutInternal(code.replace(reference, ''), internal));
}
