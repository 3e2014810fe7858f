// Publishes the package: `npm run release`, with `--pack FOLDER` only what would be published. It refuses where something is missing that cannot
// be put right afterwards: npm's page shows the README of a version for ever, and its links lead nowhere without a public repository.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Why a version must not be published. */
export function refusals(manifest, changelog, changes) {
  const { repository, version } = manifest;
  const reasons = [];
  if (!addressOf(repository))
    reasons.push('package.json has no repository on the web: the links of the README would lead nowhere');
  if (!new RegExp(`^## ${version.replaceAll('.', '\\.')}(?!\\S| \\(unreleased\\))`, 'm').test(changelog))
    reasons.push(`CHANGELOG.md has no section of ${version}, or it says that it is unreleased`);
  if (changes.trim() !== '') reasons.push('there are changes that are not committed');
  return reasons;
}

/** `https://…/owner/name` of what package.json says; undefined for anything that a browser does not open. */
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
  const reasons = refusals(manifest, read('CHANGELOG.md'), run('git', 'status', '--porcelain'));
  if (reasons.length) {
    for (const reason of reasons) console.error(`not released: ${reason}`);
    process.exitCode = 1;
    return;
  }
  run('npm', 'run', 'check');
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
