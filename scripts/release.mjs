// Publishes the package: `npm run release`. With `--pack FOLDER` it only writes what would be
// published. It refuses what cannot be put right afterwards: a version on npm stays as it is, and
// so does its page, whose links lead nowhere without a public repository.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { wholeModules } from './kernels.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Why a version must not be published.
 *
 * `changes` are those that are not committed (`git status --porcelain`), `tags` those of the commit
 * (`git tag --points-at HEAD`). `measured` is the version that the figures of the bench's history
 * are of, undefined where there are none. `modules` has the hashes of each compiled file of dist/:
 * as it lies there, and of each build from the sources.
 */
export function refusals({ manifest, changelog, changes, tags, measured, modules }) {
  const { repository, version } = manifest;
  const reasons = [];
  if (!addressOf(repository))
    reasons.push('package.json has no repository on the web: the links of the README would lead nowhere');
  if (!new RegExp(`^## ${version.replaceAll('.', '\\.')}(?!\\S| \\(unreleased\\))`, 'm').test(changelog))
    reasons.push(`CHANGELOG.md has no section of ${version}, or it says that it is unreleased`);
  if (changes.trim() !== '') reasons.push('there are changes that are not committed');
  const versions = tags.split(/\s+/).filter((tag) => /^v\d/.test(tag));
  if (versions.length !== 1 || versions[0] !== `v${version}`)
    reasons.push(`the commit has no tag v${version} and no other version's, but ${versions.join(', ') || 'none'}`);
  const history = historyOf(version);
  if (measured !== version) reasons.push(`${history} has no figures of ${version}: npm run bench -- --json ${history}`);
  for (const [file, { built, shipped }] of Object.entries(modules)) {
    if (new Set(built).size !== 1) reasons.push(`two builds of dist/${file} differ`);
    else if (built[0] !== shipped) reasons.push(`dist/${file} is not what the sources build`);
  }
  return reasons;
}

/** Where a version's figures lie, for `npm run bench -- --baseline`. */
const historyOf = (version) => `bench/history/${version}.json`;

/** The version of the figures in the bench's history. */
function measuredOf({ version }) {
  const path = join(root, historyOf(version));
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).about?.version : undefined;
}

/** Hashes of the kernels in dist/, and of two builds in folders of their own. */
function moduleHashes() {
  const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');
  const builds = [1, 2].map(() => {
    const folder = mkdtempSync(join(tmpdir(), 'evenkeel-kernels-'));
    try {
      return wholeModules(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
  const entries = ['simd', 'relaxed'].map((name) => {
    const file = join(root, `dist/wasm/${name}.wasm`);
    const shipped = existsSync(file) ? hash(readFileSync(file)) : undefined;
    return [`wasm/${name}.wasm`, { shipped, built: builds.map((build) => hash(build[name])) }];
  });
  return Object.fromEntries(entries);
}

/** `https://…/owner/name` of package.json; undefined for anything that a browser does not open. */
function addressOf(repository) {
  const url = typeof repository === 'string' ? repository : repository?.url;
  return /^(?:git\+)?(https:\/\/[^\s]+?\/[^\s/]+\/[^\s/]+?)(?:\.git)?$/.exec(url ?? '')?.[1];
}

/** A README whose links to files of the repository are whole addresses, at this version. */
export function withAddresses(readme, repository, version) {
  const base = `${addressOf(repository)}/blob/v${version}/`;
  return readme.replace(/(\]\()(?!https?:|#|mailto:)([^)\s]+)/g, (_, open, path) => `${open}${base}${path}`);
}

/** What users get: nothing that builds the package. */
export function published(manifest) {
  const { scripts: _, devDependencies: __, ...rest } = manifest;
  return rest;
}

function main(args) {
  const run = (file, ...list) =>
    execFileSync(file, list, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const read = (name) => readFileSync(join(root, name), 'utf8');
  const manifest = JSON.parse(read('package.json'));
  const refused = (modules) => {
    const changes = run('git', 'status', '--porcelain');
    const tags = run('git', 'tag', '--points-at', 'HEAD');
    const reasons = refusals({
      ...{ manifest, changelog: read('CHANGELOG.md'), changes, tags, modules },
      measured: measuredOf(manifest),
    });
    for (const reason of reasons) console.error(`not released: ${reason}`);
    if (reasons.length) process.exitCode = 1;
    return reasons.length > 0;
  };
  if (refused({})) return;
  run('npm', 'run', 'check'); // builds dist/ as well
  if (refused(moduleHashes())) return;
  const folder = args[0] === '--pack' ? args[1] : mkdtempSync(join(tmpdir(), 'evenkeel-release-'));
  const [{ files }] = JSON.parse(run('npm', 'pack', '--dry-run', '--ignore-scripts', '--json'));
  for (const { path } of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    copyFileSync(join(root, path), join(folder, path));
  }
  writeFileSync(join(folder, 'README.md'), withAddresses(read('README.md'), manifest.repository, manifest.version));
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(published(manifest), null, 2)}\n`);
  if (args[0] !== '--pack') run('npm', 'publish', folder);
  console.log(args[0] === '--pack' ? `${folder} holds what would be published` : `${manifest.version} is published`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
