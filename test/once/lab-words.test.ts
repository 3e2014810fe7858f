// What the lab says, in English and in Chinese.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { EXPERIMENTS } from '../../examples/lab/experiments.ts';
import { readKept, wordless } from '../../examples/lab/kept.ts';
import { serve } from '../../examples/lab/page/site.ts';
import { keyOf, say, spoken, t } from '../../examples/lab/words.ts';
import { ZH } from '../../examples/lab/zh.ts';
import { englishIn } from '../support/english.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

test('texts keep their values apart from their words', () => {
  const inner = t`${2} steps`;
  expect(t`after ${inner}: ${'x'}`).toEqual({ key: 'after {0}: {1}', values: [inner, 'x'] });
  expect(say(t`after ${inner}: ${'x'}`)).toBe('after 2 steps: x');
});

/** A source with its places for values written as `#{x}`. */
const written = (source: string) => source.replaceAll('#{', '${');

/** The English sentences of the lab, file by file. */
const SENTENCES = new Map(
  ['', 'page/'].flatMap((folder) =>
    readdirSync(join(root, 'examples/lab', folder))
      .filter((name) => name.endsWith('.ts'))
      .map((name) => [folder + name, sentencesOf(readFileSync(join(root, 'examples/lab', folder, name), 'utf8'))]),
  ),
);

function sentencesOf(source: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isTaggedTemplateExpression(node) && ts.isIdentifier(node.tag) && node.tag.text === 't') {
      const { template } = node;
      const parts = ts.isNoSubstitutionTemplateLiteral(template)
        ? [template.text]
        : [template.head.text, ...template.templateSpans.map(({ literal }) => literal.text)];
      found.push(keyOf(parts));
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('lab.ts', source, ts.ScriptTarget.Latest));
  return found;
}

describe('in Chinese', () => {
  const all = new Set([...SENTENCES.values()].flat());

  test('every sentence has its translation, and no translation is left over', () => {
    expect(sentencesOf(written('t`a #{t`b`} c`; t`d`; u`e`; `f`'))).toEqual(['a {0} c', 'b', 'd']);
    expect(all.size).toBeGreaterThan(150);
    expect([...all].filter((key) => !Object.hasOwn(ZH, key))).toEqual([]);
    expect(Object.keys(ZH).filter((key) => !all.has(key))).toEqual([]);
  });

  test('a translation has the values of its sentence, each once', () => {
    const placesIn = (text: string) => (text.match(/\{\d+\}/g) ?? []).sort();
    for (const [key, text] of Object.entries(ZH)) expect([key, placesIn(text)]).toEqual([key, placesIn(key)]);
  });

  test.each(EXPERIMENTS)('$name says nothing in English', ({ name, title, question, claim }) => {
    const { setup, verdict, figures, tables = [] } = spoken(readKept([name])[name].result, 'zh');
    const texts = [
      ...[title, question, claim].map((text) => say(text, 'zh')),
      setup,
      verdict,
      ...figures.flatMap((figure) => [
        ...[figure.title, figure.xLabel, figure.yLabel, ...figure.series.map(({ label }) => label)],
        ...(figure.xTicks ?? []).map(([, label]) => label),
      ]),
      ...tables.flatMap((table) => [table.title, ...table.heads, ...table.rows.flat().map(String)]),
    ];
    expect(texts.length).toBeGreaterThan(5);
    for (const text of texts) expect([text, englishIn(text)]).toEqual([text, []]);
  });

  test('English words are found where there are any', () => {
    expect([englishIn('after 2 steps'), englishIn("onNonFinite: 'throw'")]).toEqual([['after', 'steps'], []]);
  });
});

test('kept results have the words of their code, which their fingerprints leave out', () => {
  const [code, reworded, revalued, recoded] = [
    'const a = t`after #{steps} steps: "#{x}"`; // why',
    "const a = t`#{steps} steps later, it's #{x}`;",
    'const a = t`after #{steps} steps: #{y}`;',
    "const b = 'after' + t`after #{steps} steps: #{x}`;",
  ].map((source) => wordless(written(source)));
  expect(reworded).toBe(code);
  expect(revalued).not.toBe(code);
  expect(recoded).not.toBe(code);
  const keysOf = (value: unknown): string[] =>
    typeof value !== 'object' || value === null
      ? []
      : [...('key' in value ? [String(value.key)] : []), ...Object.values(value).flatMap(keysOf)];
  for (const [name, { result }] of Object.entries(readKept(EXPERIMENTS.map(({ name: one }) => one)))) {
    const own = [name, 'training', 'grid', 'images', 'words'].flatMap((file) => SENTENCES.get(`${file}.ts`)!);
    expect(keysOf(result).filter((key) => !own.includes(key))).toEqual([]);
  }
});

test('the page is served in the language that a browser likes best', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  writeFileSync(join(folder, 'index.html'), 'English');
  writeFileSync(join(folder, 'zh.html'), '中文');
  const server = await serve(folder, 0);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const get = async (path: string, language: string) =>
    (await fetch(url + path, { headers: { 'accept-language': language } })).text();
  try {
    expect(await get('', 'zh-CN,zh;q=0.9,en;q=0.8')).toBe('中文');
    expect(await get('', 'fr-FR, zh-TW;q=0.5')).toBe('中文');
    expect(await get('', 'en-GB,en;q=0.9,zh;q=0.8')).toBe('English');
    expect(await get('', 'fr')).toBe('English');
    expect(await get('index.html', 'zh')).toBe('English');
    expect(await get('zh.html', 'en')).toBe('中文');
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
});
