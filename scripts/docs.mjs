// The API site: `npm run docs` makes build/site of the published types, the guides and the
// changelog. A link that leads nowhere is an error. So is every warning of TypeDoc: a public name
// without documentation, and a type that a signature names and no entry exports, among others.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Application, LogLevel } from 'typedoc';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const site = join(root, 'build/site');
const entries = join(root, 'build/entries');

/** Pages beside the guides in docs/. */
const PAGES = ['CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'];

/** Modules as users import them, each a list of what dist/ declares. */
const MODULES = {
  evenkeel: 'js',
  'evenkeel/infer': 'infer/index',
  'evenkeel/weights': 'weights/index',
  'evenkeel/models': 'models/index',
  'evenkeel/pool': 'pool/index',
  'evenkeel/shards': 'shards/index',
};

function writeEntries() {
  rmSync(entries, { recursive: true, force: true });
  mkdirSync(entries, { recursive: true });
  return Object.entries(MODULES).map(([name, types]) => {
    const file = join(entries, `${name.replace('/', '-')}.d.ts`);
    writeFileSync(file, `/** @module ${name} */\nexport * from '../../dist/${types}.js';\n`);
    return file;
  });
}

/** Writes the site. Returns how many warnings there were; TypeDoc has printed them. */
async function writeSite() {
  const entryPoints = writeEntries();
  const tsconfig = join(entries, 'tsconfig.json');
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable', 'dom'],
    module: 'nodenext',
    strict: true,
    types: [],
  };
  writeFileSync(tsconfig, JSON.stringify({ compilerOptions, files: entryPoints }));
  const app = await Application.bootstrap({
    name: 'evenkeel',
    entryPoints,
    tsconfig,
    readme: join(root, 'README.md'),
    projectDocuments: ['docs/*.md', 'docs/decisions/*.md', ...PAGES].map((page) => join(root, page)),
    highlightLanguages: ['bash', 'html', 'javascript', 'json', 'python', 'typescript'],
    out: site,
    cleanOutputDir: true,
    disableSources: true,
    includeVersion: true,
    validation: { notExported: true, invalidLink: true, notDocumented: true },
    logLevel: LogLevel.Warn,
  });
  const project = await app.convert();
  if (!project) throw new Error('TypeDoc could not read the types');
  app.validate(project);
  await app.generateOutputs(project);
  return app.logger.warningCount + app.logger.errorCount;
}

/** Links of the site's pages to files or places in them that do not exist. */
function deadLinks() {
  const pages = new Map();
  const read = (file) => {
    if (!pages.has(file))
      pages.set(file, existsSync(file) && /\.(html|svg)$/.test(file) ? readFileSync(file, 'utf8') : '');
    return pages.get(file);
  };
  const dead = [];
  for (const name of readdirSync(site, { recursive: true })) {
    if (!name.endsWith('.html')) continue;
    const page = join(site, name);
    for (const [, link] of read(page).matchAll(/\s(?:href|src)="([^"]*)"/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path, place] = link.split('#').map(decodeURIComponent);
      const target = path ? resolve(dirname(page), path) : page;
      const isThere = existsSync(target) && statSync(target).isFile();
      if (!isThere || (place && !read(target).includes(` id="${place}"`))) dead.push(`${name}: ${link}`);
    }
  }
  return dead;
}

const warnings = await writeSite();
const dead = deadLinks();
for (const link of dead) console.error(`a link leads nowhere: ${link}`);
if (warnings || dead.length) process.exitCode = 1;
else console.log(`${relative(root, join(site, 'index.html'))} is the first page`);
