// The page of the lab, in headless browsers: everything runs live, controls change results, what is
// broken says so.

import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { EXPERIMENTS } from '../../examples/lab/experiments.ts';
import { serve } from '../../examples/lab/page/site.ts';
import { launchChromium, launchFirefox } from './browsers.ts';
import type { Example } from './host.ts';
import { root, work } from './install.ts';

/** What is asked of either driver's page. */
export interface LabPage {
  goto(url: string): Promise<unknown>;
  evaluate(code: string): Promise<unknown>;
  on(event: string, listener: (what: never) => void): unknown;
}

/** Runs one experiment to its end with these controls; what its status says. */
const RUN = `async (name, controls, most) => {
  const section = document.querySelector('section[data-name="' + name + '"]');
  section.querySelector('[data-do=reset]').click();
  for (const [key, value] of Object.entries(controls)) section.querySelector('[name=' + key + ']').value = value;
  section.querySelector('[data-do=run]').click();
  const status = section.querySelector('[data-part=status]');
  const start = performance.now();
  while (section.dataset.state === 'running') {
    if (performance.now() - start > most) throw new Error(name + ' did not end: ' + status.textContent);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { state: section.dataset.state ?? '', text: status.textContent, steps: Number(section.dataset.steps ?? 0), charts: section.querySelectorAll('[data-part=live] svg[role=img]').length };
}`;

interface Outcome {
  state: string;
  text: string;
  steps: number;
  charts: number;
}

/** Presses pause, looks whether the net stands still, and goes on. */
const PAUSE = `async () => {
  const section = document.querySelector('section[data-name=playground]');
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  section.querySelector('[data-do=reset]').click();
  section.querySelector('[data-do=run]').click();
  for (let i = 0; i < 400 && !section.querySelector('[data-part=live] svg'); i++) await wait(20);
  const pause = section.querySelector('[data-do=pause]');
  pause.click();
  await wait(300);
  const one = section.querySelector('[data-part=live]').innerHTML;
  await wait(500);
  const two = section.querySelector('[data-part=live]').innerHTML;
  pause.click();
  await wait(600);
  const three = section.querySelector('[data-part=live]').innerHTML;
  section.querySelector('[data-do=reset]').click();
  return { still: one === two, moved: three !== two, gone: section.querySelector('[data-part=live]').innerHTML === '' };
}`;

/**
 * How wide the page is in a frame of 360 pixels: nothing may be cut off, or have to be scrolled for
 * sideways.
 */
const WIDTH = `async () => {
  const frame = document.createElement('iframe');
  frame.style = 'width: 360px; height: 800px; border: 0';
  frame.src = '/';
  document.body.append(frame);
  await new Promise((resolve) => frame.addEventListener('load', resolve));
  const { contentDocument, contentWindow } = frame;
  const sizes = { page: contentDocument.documentElement.scrollWidth, window: contentWindow.innerWidth };
  frame.remove();
  return sizes;
}`;

function check(holds: boolean, complaint: string): void {
  if (!holds) throw new Error(complaint);
}

/** Everything that the page promises. */
export async function examine(page: LabPage, shot?: (file: string, width: number) => Promise<unknown>): Promise<void> {
  const folder = `${work}lab`;
  mkdirSync(folder, { recursive: true });
  execFileSync(process.execPath, ['--import', 'tsx', 'examples/lab/main.ts', '--build', folder], {
    cwd: root,
    stdio: 'pipe',
  });
  const server = await serve(folder, 0);
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const complaints: string[] = [];
  page.on('console', ((message: { type(): string; text(): string }) => {
    if (message.type() === 'error') complaints.push(message.text());
  }) as never);
  page.on('pageerror', ((error: Error) => complaints.push(error.message)) as never);
  page.on('request', ((request: { url(): string }) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(origin))
      complaints.push(`asked for ${request.url()}`);
  }) as never);
  const call = (code: string, ...args: unknown[]) =>
    page.evaluate(`(${code})(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
  const run = (name: string, controls: object = {}) => call(RUN, name, controls, 60_000) as Promise<Outcome>;
  try {
    await page.goto(`${origin}/`);
    await shot?.(`${folder}/wide.png`, 1100);
    const names = (await page.evaluate(
      "[...document.querySelectorAll('section[data-name]')].map((s) => s.dataset.name)",
    )) as string[];
    // each experiment, and the playground
    check(names.length === EXPERIMENTS.length + 1, `${names.length} experiments`);
    for (const name of names) {
      const { state, text } = await run(name);
      check(state === 'done', `${name}: ${state} ${text}`);
      check(!/NaN|undefined/.test(text), `${name}: ${text}`);
    }
    const plain = await run('playground');
    check(plain.steps >= 100, `${plain.steps} steps a second`);
    check(plain.charts === 3, `${plain.charts} live pictures`);
    const other = await run('playground', { norm: 'none', scale: '0.05', rate: '0.05' });
    check(other.text !== plain.text, 'controls change nothing');
    const wild = await run('playground', { norm: 'none', activation: 'relu', rate: '1e9' });
    check(wild.state === 'done' && /the largest weight is now/.test(wild.text), `a rate of 1e9: ${wild.text}`);
    const single = await run('playground', { batch: '1' });
    check(/expected at least 2 values per channel, got 1/.test(single.text), `a batch of 1: ${single.text}`);
    const broken = await run('playground', { rate: 'NaN' });
    check(/learning rate expected a number from .*, got NaN/.test(broken.text), `a rate of NaN: ${broken.text}`);
    const deep = await run('playground', { depth: '30' });
    check(deep.state === 'done', `30 layers: ${deep.state} ${deep.text}`);
    const paused = (await call(PAUSE)) as { still: boolean; moved: boolean; gone: boolean };
    check(paused.still && paused.moved && paused.gone, `pause and reset: ${JSON.stringify(paused)}`);
    const width = (await call(WIDTH)) as { page: number; window: number };
    check(width.window === 360 && width.page <= width.window, `at 360 px: ${JSON.stringify(width)}`);
    await shot?.(`${folder}/narrow.png`, 360);
    check(complaints.length === 0, complaints.slice(0, 3).join('; '));
  } finally {
    server.close();
  }
}

export const lab: Example[] = [
  {
    name: 'Lab page, Chromium',
    run: async () => {
      const browser = await launchChromium();
      try {
        const page = (await browser.newPage({ viewport: { width: 1100, height: 900 } })) as LabPage & {
          setViewportSize(size: object): Promise<void>;
          screenshot(options: object): Promise<unknown>;
        };
        await examine(page, async (path, width) => {
          await page.setViewportSize({ width, height: 900 });
          await page.screenshot({ path, fullPage: true });
        });
      } finally {
        await browser.close();
      }
      return 'relaxed';
    },
  },
  {
    name: 'Lab page, Firefox',
    heavy: true,
    run: async () => {
      const browser = await launchFirefox();
      try {
        await examine((await browser.newPage()) as LabPage);
      } finally {
        await browser.close();
      }
      return 'simd';
    },
  },
];
