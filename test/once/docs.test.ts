// The pages of the documentation.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const pagesIn = (folder: string) => readdirSync(join(root, folder)).map((name) => join(folder, name));
const pages = ['', 'docs', 'docs/decisions', 'examples/serve', 'examples/serverless']
  .flatMap(pagesIn)
  .filter((name) => name.endsWith('.md'));
const read = (page: string) => readFileSync(join(root, page), 'utf8');
/** Prose alone: without blocks and pieces of code. */
const proseOf = (page: string) => read(page).replace(/^```.*?^```/gms, '');

/** Places in a page, by the names that its headings have as links. */
function placesIn(page: string): string[] {
  return [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test('links lead to files, and to places that are in them', () => {
  expect(pages.length).toBeGreaterThan(25);
  for (const page of pages) {
    for (const [, link] of proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path, place] = link.split('#');
      const target = path ? join(dirname(page), path) : page;
      expect([page, link, existsSync(join(root, target))]).toEqual([page, link, true]);
      if (place && target.endsWith('.md')) expect(placesIn(target), `${page}: ${link}`).toContain(place);
    }
  }
});

test('every decision is in the list of decisions', () => {
  const list = read('docs/decisions/README.md');
  const decisions = readdirSync(join(root, 'docs/decisions')).filter((name) => /^\d/.test(name));
  expect(decisions.filter((name) => !list.includes(`](${name})`))).toEqual([]);
});

test('CONTRIBUTING has a row for every folder, and names scripts that exist', () => {
  const text = read('CONTRIBUTING.md');
  const tracked = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).trim().split('\n');
  const folders = new Set(tracked.flatMap((file) => /^(?!\.)(?:src\/|test\/)?[^/]+\//.exec(file)?.[0] ?? []));
  expect([...folders].filter((folder) => !text.includes(`\`${folder}\``))).toEqual([]);
  const { scripts } = JSON.parse(read('package.json'));
  const named = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

test('lines are at most 100 columns wide, tables and blocks of code aside', () => {
  // pages join the list as they are brought into this form; none leaves it
  for (const page of ['CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'docs/versions.md']) {
    const wide = proseOf(page)
      .split('\n')
      .filter((line) => line.length > 100 && !line.startsWith('|'));
    expect(wide).toEqual([]);
  }
});
