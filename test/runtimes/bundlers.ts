// Bundlers, each with its defaults: the bundle holds all of the library, and runs by itself in a
// folder without packages.

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { type BuildOptions, build } from 'esbuild';
import { answerIn, type Host, sh } from './host.ts';
import { app, packages, work } from './install.ts';

const out = `${work}bundles/`;

/** Runs a bundle where no package is to be found. */
const alone = async (file: string) => answerIn(await sh(process.execPath, [file], { cwd: out }));

const esbuild = (name: string, file: string, options: BuildOptions): Host => ({
  name: `esbuild, ${name}`,
  run: async () => {
    const { warnings } = await build({
      entryPoints: [`${app}main.mjs`],
      outfile: out + file,
      bundle: true,
      minify: true,
      logLevel: 'silent',
      ...options,
    });
    if (warnings.length) throw new Error(`warning: ${warnings[0].text}`);
    return alone(out + file);
  },
});

function inFolder(name: string): string {
  const folder = `${out}${name}/`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

// without hints on size: they are warnings for a web page, and the probe uses most of the library
const webpack = (target: string): Host => ({
  name: `webpack, ${target}`,
  run: async () => {
    const tools = await packages('webpack', 'webpack');
    const folder = inFolder(`webpack-${target}`);
    writeFileSync(
      `${folder}build.mjs`,
      `import { createRequire } from 'node:module';
const webpack = createRequire('${tools}')('webpack');
webpack({ context: '${app}', entry: './main.mjs', target: '${target}', mode: 'production', performance: { hints: false }, output: { path: '${folder}', filename: 'bundle.cjs' } },
  (error, stats) => {
    const { errors, warnings } = stats?.toJson() ?? { errors: [error], warnings: [] };
    for (const { message } of [...errors, ...warnings]) console.log(message);
    process.exit(errors.length + warnings.length ? 1 : 0);
  });
`,
    );
    await sh(process.execPath, ['build.mjs'], { cwd: folder });
    return alone(`${folder}bundle.cjs`);
  },
});

export const bundlers: Host[] = [
  esbuild('esm', 'esbuild.mjs', { format: 'esm', platform: 'node' }),
  esbuild('cjs', 'esbuild.cjs', { format: 'cjs', platform: 'node' }),
  esbuild('browser', 'browser.js', { format: 'iife', platform: 'browser' }),
  {
    name: 'rollup',
    run: async () => {
      const tools = await packages('rollup', 'rollup', '@rollup/plugin-node-resolve');
      const folder = inFolder('rollup');
      await sh(
        `${tools}node_modules/.bin/rollup`,
        [
          `${app}main.mjs`,
          '-p',
          '@rollup/plugin-node-resolve',
          '--failAfterWarnings',
          '-f',
          'es',
          '-o',
          `${folder}bundle.mjs`,
        ],
        { cwd: tools },
      );
      return alone(`${folder}bundle.mjs`);
    },
  },
  webpack('node20'),
  webpack('web'),
  {
    name: 'vite',
    run: async () => {
      const tools = await packages('vite', 'vite');
      const folder = inFolder('vite');
      writeFileSync(
        `${app}vite.config.mjs`,
        `export default { logLevel: 'warn', build: { outDir: '${folder}', emptyOutDir: true, lib: { entry: 'main.mjs', formats: ['es'], fileName: 'bundle' } } };\n`,
      );
      await sh(process.execPath, [`${tools}node_modules/vite/bin/vite.js`, 'build'], { cwd: app });
      const file = ['bundle.mjs', 'bundle.js'].map((name) => folder + name).find((name) => existsSync(name))!;
      writeFileSync(`${folder}package.json`, '{"type":"module"}');
      return alone(file);
    },
  },
];
