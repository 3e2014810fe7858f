// Lists that follow from others: the sources of kernels by host, from the parts in
// assembly/index.ts, and the public lists with kernels, from src/provided.ts.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

/** Kernels that come together: the parts of the whole module. */
export function partsOf(root) {
  const index = readFileSync(join(root, 'assembly/index.ts'), 'utf8');
  return Array.from(index.matchAll(/'\.\/parts\/(\w+)'/g), ([, part]) => part);
}

/**
 * Names of the parts, and where these come from, by host: packed in the JavaScript, each by itself,
 * or compiled by the host, all in one.
 */
export function sourcesOf(parts) {
  const inline = parts.flatMap((part) => [
    `import ${part}Text from './${part}.ts';`,
    `export const ${part} = /* @__PURE__ */ packedSource(${part}Text);`,
  ]);
  const compiled = (host) =>
    `export { ${parts.map((part) => `source as ${part}`).join(', ')} } from '../${host}.ts';\n`;
  return {
    'part-name': `/** Kernels that come together. */\nexport type PartName = ${parts.map((part) => `'${part}'`).join(' | ')};\n`,
    inline: `import { packedSource } from '../packed.ts';\n${inline.join('\n')}\n`,
    workerd: compiled('workerd'),
    'edge-light': compiled('edge-light'),
  };
}

/**
 * The list of a module in src/, each name with its kernels; needs the generated files that the
 * module imports.
 */
export async function listOf(root, module) {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(root, 'src/provided.ts'), join(root, 'src', module)],
    outdir: 'out',
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    write: false,
    metafile: true,
  });
  const provided = outputFiles.find(({ path }) => path.endsWith('provided.js'));
  const { KERNELS } = await import(`data:text/javascript,${encodeURIComponent(provided.text)}`);
  const { inputs, exports } = Object.values(metafile.outputs).find(({ entryPoint }) => entryPoint === `src/${module}`);
  const source = Object.keys(inputs)
    .map((file) => readFileSync(join(root, file), 'utf8'))
    .join('\n');
  const lines = exports
    .filter((name) => KERNELS[name].length)
    .map((name) => {
      const value = `export const ${name} = /* @__PURE__ */ provide(plain.${name}, { ${KERNELS[name].join(', ')} });\n`;
      const [isClass, parameters] =
        new RegExp(`export (?:abstract )?class ${name}\\b(?:<([^>]*)>)?`).exec(source) ?? [];
      if (!isClass) return value;
      const names = parameters?.replace(/ extends [^,]*/g, '');
      // types that parameters name are those of the module
      const own = parameters?.replace(/(extends|=) (?=[A-Z])/g, '$1 plain.');
      const [given, taken] = parameters ? [`<${own}>`, `<${names}>`] : ['', ''];
      return `${value}export type ${name}${given} = plain.${name}${taken};\n`;
    });
  const parts = [...new Set(exports.flatMap((name) => KERNELS[name]))].sort();
  return [
    `import { ${parts.join(', ')} } from '#wasm';\n`,
    `import * as plain from '../${module}';\n`,
    `import { provide } from '../wasm/source.ts';\n\n`,
    `export * from '../${module}';\n\n`,
    ...lines,
  ].join('');
}
