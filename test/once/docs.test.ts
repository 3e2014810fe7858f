// The pages of the documentation.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const pagesIn = (folder: string) => readdirSync(join(root, folder)).map((name) => join(folder, name));
const pages = [
  '',
  'docs',
  'docs/decisions',
  'examples/serve',
  'examples/serverless',
  'examples/classify',
  'assembly/packer',
]
  .flatMap(pagesIn)
  .filter((name) => name.endsWith('.md'));
const read = (page: string) => readFileSync(join(root, page), 'utf8');
/** All files of the repository. */
const tracked = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).trim().split('\n');
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
  const folders = new Set(tracked.flatMap((file) => /^(?!\.)(?:src\/|test\/)?[^/]+\//.exec(file)?.[0] ?? []));
  expect([...folders].filter((folder) => !text.includes(`\`${folder}\``))).toEqual([]);
  const { scripts } = JSON.parse(read('package.json'));
  const named = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

/** Lines wider than 100 columns, URLs aside. */
const isWide = (line: string) => line.replace(/https?:\/\/\S+/g, '').length > 100;

test('prose is at most 100 columns wide, tables and code aside', () => {
  const all = tracked.filter((file) => file.endsWith('.md') && !file.startsWith('api/'));
  expect(all.length).toBeGreaterThan(35);
  const wide = all.flatMap((page) =>
    proseOf(page)
      .split('\n')
      .filter((line) => isWide(line) && !/^( {4}|\s*\|)/.test(line))
      .map((line) => `${page}: ${line}`),
  );
  expect(wide).toEqual([]);
});

test('comments are at most 100 columns wide, code in them aside', () => {
  const sources = tracked.filter((file) => /^(?!test\/fixtures\/).*\.m?[jt]s$/.test(file));
  expect(sources.length).toBeGreaterThan(400);
  const wide = sources.flatMap((file) => {
    let isInside = false;
    return read(file)
      .split('\n')
      .filter((line) => {
        const isComment = isInside || /^\s*\/[/*]/.test(line);
        if (/^\s*\/\*/.test(line)) isInside = true;
        if (line.includes('*/')) isInside = false;
        // behind code: the code and the comment together
        return isWide(line) && (isComment ? !/^\s*\* {5}/.test(line) : /[;,{}()] \/\/ /.test(line));
      })
      .map((line) => `${file}: ${line}`);
  });
  expect(wide).toEqual([]);
});
