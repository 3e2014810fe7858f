// A page that trains and infers, in headless browsers; with and without a content security policy
// that allows WebAssembly.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { build } from 'esbuild';
import { type Answer, answerIn, type Host, listening, Skipped } from './host.ts';
import { app, debian, packages, work } from './install.ts';
import { expectedAnswer } from './node.ts';

/** What a driver does: opens an address, waits for the page's answer, and hands it over. */
type Visit = (url: string) => Promise<string>;

async function served(policy: string, visit: Visit): Promise<Answer> {
  const expected = await expectedAnswer();
  const file = `${work}bundles/page.js`;
  await build({
    entryPoints: [`${app}main.mjs`],
    outfile: file,
    bundle: true,
    minify: true,
    format: 'esm',
    logLevel: 'silent',
  });
  // the program prints its answer; the page judges it, and shows it
  const page = `<!doctype html><title>probe</title><pre id="answer"></pre><script type="module" src="/page.js" nonce="a"></script>`;
  const script = `const show = (text) => (document.getElementById('answer').textContent += text + '\\n');
const expected = ${JSON.stringify(expected.fixed)};
console.log = (text) => {
  const { fixed } = JSON.parse(text);
  const near = fixed.values.every((value, i) => Math.abs(value - expected.values[i]) <= 2e-5);
  const right = near && (fixed.backend === 'js' || fixed.bits === expected.bits);
  show(right ? text : 'the page found other results: ' + text);
};
addEventListener('error', ({ message }) => show('error: ' + message));
${readFileSync(file, 'utf8')}`;
  const server = createServer((request, response) => {
    const isScript = request.url === '/page.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    if (policy) response.setHeader('content-security-policy', policy);
    response.end(isScript ? script : page);
  });
  const port = await listening(server);
  try {
    return answerIn(await visit(`http://127.0.0.1:${port}/`));
  } finally {
    server.close();
  }
}

const READ = "document.getElementById('answer')?.textContent ?? ''";

interface Page {
  goto(url: string): Promise<unknown>;
  evaluate(code: string): Promise<string>;
}

interface Browser {
  newPage(): Promise<Page>;
  close(): Promise<void>;
}

/** What a page shows in `#answer`, once it shows something. */
export async function answerOf(browser: Browser, url: string): Promise<string> {
  try {
    const page = await browser.newPage();
    await page.goto(url);
    for (let tries = 0; tries < 1200; tries++) {
      const text = await page.evaluate(READ);
      if (text) return text;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('the page gave no answer');
  } finally {
    await browser.close();
  }
}

// biome-ignore lint/suspicious/noExplicitAny: two drivers, neither installed with the project
export type Launched = any;

export async function launchChromium(): Promise<Launched> {
  const executablePath = await debian('/usr/bin/chromium-headless-shell', 'chromium-headless-shell');
  const { chromium } = createRequire(await packages('playwright', 'playwright-core'))('playwright-core');
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-quic'] });
}

/** `isDark`: as for whoever prefers dark pages. */
export async function launchFirefox({ isDark = false } = {}): Promise<Launched> {
  const executablePath = await debian('/usr/bin/firefox-esr', 'firefox-esr');
  const puppeteer = createRequire(await packages('puppeteer', 'puppeteer-core@24'))('puppeteer-core');
  // 0: dark, 1: light
  const extraPrefsFirefox = { 'layout.css.prefers-color-scheme.content-override': Number(!isDark) };
  return puppeteer.launch({ browser: 'firefox', executablePath, headless: true, extraPrefsFirefox });
}

const chromium: Visit = async (url) => answerOf(await launchChromium(), url);
const firefox: Visit = async (url) => answerOf(await launchFirefox(), url);

const page = (name: string, visit: Visit, policy = '', expected: Partial<Host> = {}): Host => ({
  name,
  backend: 'relaxed',
  ...expected,
  run: async () => {
    if (process.platform !== 'linux') throw new Skipped('browsers are looked for where Debian puts them');
    return served(policy, visit);
  },
});

const NONCE = "script-src 'nonce-a'";

export const browsers: Host[] = [
  page('Chromium', chromium),
  page("Chromium, CSP with 'wasm-unsafe-eval'", chromium, `${NONCE} 'wasm-unsafe-eval'`),
  page('Chromium, CSP without it', chromium, NONCE, {
    backend: 'js',
    reason: /simd: CompileError: .*(Content Security Policy|unsafe-eval)/,
  }),
  // relaxed SIMD since 145, which is not yet Debian's: the best it has
  page('Firefox', firefox, '', { backend: undefined }),
];
