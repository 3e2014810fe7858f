// What a bundle weighs, minified and gzipped, and what is in it: `npm run size` prints the table, a
// test holds the budgets.

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** What is bundled, and the most it may weigh, in bytes. */
export const BUDGETS = [
  { name: 'batch norm in evaluation', code: "export { batchNorm } from 'evenkeel'", budget: 12_400 },
  { name: 'compiled networks', code: "export { load } from 'evenkeel/infer'", budget: 21_000 },
  { name: 'the same without WebAssembly', code: "export { batchNorm } from 'evenkeel/js'", budget: 6_600 },
  { name: 'the BatchNorm layer', code: "export { BatchNorm2d } from 'evenkeel'", budget: 38_000 },
  { name: 'ResNet', code: "export { resnet } from 'evenkeel/models'", budget: 99_000 },
  { name: 'all of evenkeel', code: "export * from 'evenkeel'", budget: 155_400 },
  {
    name: 'reading safetensors',
    code: "export { readSafetensors, fromTorch } from 'evenkeel/weights'",
    budget: 12_750,
  },
];

/** A minified bundle, and the bytes in it of what `nameOf` gives one name. */
async function bundled(stdin, nameOf, options = {}) {
  const { outputFiles, metafile } = await build({
    stdin: { ...stdin, resolveDir: root },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'neutral',
    write: false,
    metafile: true,
    logLevel: 'silent',
    ...options,
  });
  const parts = {};
  for (const [file, { bytesInOutput }] of Object.entries(Object.values(metafile.outputs)[0].inputs)) {
    const part = nameOf(file);
    parts[part] = (parts[part] ?? 0) + bytesInOutput;
  }
  return { output: outputFiles[0], parts };
}

/** Minified bytes by folder of the source, largest first. */
async function contents(code) {
  const source = code.replace(
    /'evenkeel(\/\w+)?'/,
    (_, path) =>
      `'./src${{ '/infer': '/infer/index', '/weights': '/weights/index', '/models': '/models/index', '/pool': '/pool/index', '/shards': '/shards/index' }[path] ?? path ?? '/index'}.ts'`,
  );
  const folderOf = (file) => /src\/(wasm\/generated|\w+)\//.exec(file)?.[1] ?? 'errors and names';
  const { parts } = await bundled({ contents: source, loader: 'ts' }, folderOf);
  return Object.entries(parts)
    .filter(([, bytes]) => bytes > 0)
    .sort((a, b) => b[1] - a[1]);
}

/**
 * @returns {Promise<{ raw: number, gzip: number, text: string, parts: Record<string, number> }>}
 *   bytes; of parts, before gzip
 */
export async function measure(code) {
  const partOf = (file) => (file.includes('/wasm/inline') ? 'kernels' : file.includes('/shared/') ? 'shared' : 'names');
  // as a user's bundler sees it
  const { output, parts } = await bundled({ contents: code }, partOf, { tsconfigRaw: {} });
  const { contents: bytes, text } = output;
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length, text, parts };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const row = (...cells) => cells.map((cell, i) => (i ? `${cell}`.padStart(12) : cell.padEnd(30))).join('');
  console.log('bytes; below each bundle what is in it, minified\n');
  console.log(row('', 'gzip', 'budget', 'raw', 'kernels', 'JavaScript'));
  for (const { name, code, budget } of BUDGETS) {
    const { raw, gzip, parts } = await measure(code);
    console.log(row(name, gzip, budget, raw, parts.kernels ?? 0, raw - (parts.kernels ?? 0)));
    const folders = await contents(code);
    console.log(
      `  ${folders.map(([folder, bytes]) => `${folder.replace('wasm/generated', 'kernels as text')} ${bytes}`).join(', ')}`,
    );
    if (gzip > budget) process.exitCode = 1;
  }
}
