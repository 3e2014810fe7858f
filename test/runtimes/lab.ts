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
export const RUN = `async (name, controls, most) => {
  const section = document.querySelector('details[data-name="' + name + '"]');
  section.open = true;
  section.querySelector('[data-do=reset]').click();
  for (const [key, value] of Object.entries(controls)) section.querySelector('[name=' + key + ']').value = value;
  section.querySelector('[data-do=run]').click();
  const status = section.querySelector('[data-part=status]');
  const start = performance.now();
  while (section.dataset.state === 'running') {
    if (performance.now() - start > most) throw new Error(name + ' did not end: ' + status.textContent);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { state: section.dataset.state ?? '', text: status.textContent, steps: Number(section.dataset.steps ?? 0), charts: section.querySelectorAll('[data-part=live] figure').length, badge: section.querySelector('[data-part=badge]').textContent, address: location.hash };
}`;

/** Runs the playground once more with other settings; the legend of its first chart. */
const AGAIN = `async (controls, most) => {
  const card = document.getElementById('playground');
  for (const [key, value] of Object.entries(controls)) card.querySelector('[name=' + key + ']').value = value;
  card.querySelector('[data-do=run]').click();
  const start = performance.now();
  while (card.dataset.state === 'running' && performance.now() - start < most) await new Promise((resolve) => setTimeout(resolve, 20));
  return card.querySelector('[data-part=result] .legend').textContent;
}`;

export interface Outcome {
  state: string;
  text: string;
  steps: number;
  charts: number;
  badge: string;
  address: string;
}

/** Presses pause, looks whether the net stands still, and goes on. */
const PAUSE = `async () => {
  const section = document.querySelector('details[data-name=playground]');
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  section.querySelector('[data-do=reset]').click();
  section.querySelector('[data-do=run]').click();
  for (let i = 0; i < 400 && !section.querySelector('[data-part=live] svg'); i++) await wait(20);
  const judged = section.querySelector('[data-part=result]').textContent;
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
  return { still: one === two, moved: three !== two, gone: section.querySelector('[data-part=live]').innerHTML === '', judged };
}`;

/**
 * The two nets above the fold with these settings: to their end, or until their sentence says
 * enough.
 */
export const DUEL = `async (settings, most, enough = '^$') => {
  const section = document.getElementById('duel');
  const part = (name) => section.querySelector('[data-part=' + name + ']').textContent;
  for (const [key, value] of Object.entries(settings)) section.querySelector('[name=' + key + ']').value = value;
  section.querySelector('[data-do=run]').click();
  const start = performance.now();
  const first = part('sentence');
  while (section.dataset.state === 'running' && performance.now() - start < most && !new RegExp(enough).test(part('sentence'))) await new Promise((resolve) => setTimeout(resolve, 20));
  const at = [...section.querySelectorAll('.plot polyline, .plot rect')].map((e) => e.getBoundingClientRect());
  const plot = [...section.querySelectorAll('.plot')].map((e) => e.getBoundingClientRect());
  const isInside = ({ left, right, top, bottom }) => plot.some((p) => left >= p.left - 2 && right <= p.right + 2 && top >= p.top - 2 && bottom <= p.bottom + 2);
  return { state: section.dataset.state, first, last: part('sentence'), status: part('status'), invalid: section.querySelectorAll('[aria-invalid]').length, address: location.hash, figures: section.querySelectorAll('figure').length, inside: at.length > 0 && at.every(isInside), text: section.textContent };
}`;

export interface Duelled {
  state: string;
  first: string;
  last: string;
  status: string;
  invalid: number;
  address: string;
  figures: number;
  inside: boolean;
  text: string;
}

/** Does as a link to these settings would. */
const FOLLOW = `async (hash) => {
  location.hash = hash;
  await new Promise((resolve) => setTimeout(resolve, 200));
  const card = document.getElementById('speed');
  return { open: card.open, rate: card.querySelector('[name=rate]').value, status: card.querySelector('[data-part=status]').textContent, notice: document.getElementById('notice').textContent };
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

export function check(holds: boolean, complaint: string): void {
  if (!holds) throw new Error(complaint);
}

/** The page as a folder, and a server of it. */
export async function served(): Promise<{ folder: string; origin: string; close(): void }> {
  const folder = `${work}lab`;
  mkdirSync(folder, { recursive: true });
  execFileSync(process.execPath, ['--import', 'tsx', 'examples/lab/main.ts', '--build', folder], {
    cwd: root,
    stdio: 'pipe',
  });
  const server = await serve(folder, 0);
  const { port } = server.address() as AddressInfo;
  return { folder, origin: `http://127.0.0.1:${port}`, close: () => server.close() };
}

/** Adds to the complaints what a page reports, and what it asks others for. */
export function watched(page: LabPage, origin: string, complaints: string[]): void {
  page.on('console', ((message: { type(): string; text(): string }) => {
    if (message.type() === 'error') complaints.push(message.text());
  }) as never);
  page.on('pageerror', ((error: Error) => complaints.push(error.message)) as never);
  page.on('request', ((request: { url(): string }) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(origin))
      complaints.push(`asked for ${request.url()}`);
  }) as never);
}

/** Everything that the page promises. */
export async function examine(page: LabPage, shot?: (file: string, width: number) => Promise<unknown>): Promise<void> {
  const { folder, origin, close } = await served();
  const complaints: string[] = [];
  watched(page, origin, complaints);
  const call = (code: string, ...args: unknown[]) =>
    page.evaluate(`(${code})(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
  const run = (name: string, controls: object = {}) => call(RUN, name, controls, 300_000) as Promise<Outcome>;
  try {
    await page.goto(`${origin}/`);
    await shot?.(`${folder}/wide.png`, 1100);
    // something moves at once
    const moving = (await call(DUEL, {}, 60_000, '^After [1-9][0-9] steps')) as Duelled;
    check(moving.figures === 6 && moving.inside, `the duel: ${moving.figures} figures`);
    check(/^After \d+ steps /.test(moving.last) && moving.last !== moving.first, `the duel says: ${moving.last}`);
    for (const settings of [{ rate: '1e9' }, { rate: '0.5', batch: '2' }, { batch: '60', depth: '30' }]) {
      const { state, last, status, inside, text } = (await call(DUEL, settings, 300_000)) as Duelled;
      check(state === 'done' && status === '', `the duel, ${JSON.stringify(settings)}: ${state} ${status}`);
      check(/\d % /.test(last) && inside && !/NaN|undefined|Infinity/.test(text), `the duel: ${last}`);
    }
    const refused = (await call(DUEL, { depth: '3', batch: '1', rate: '0.5' }, 1000)) as Duelled;
    check(
      refused.invalid === 1 && /^batch size expected a whole number from 2 to 1000 .*, got 1$/.test(refused.status),
      `the duel with a batch of 1: ${refused.status}`,
    );
    const linked = (await call(FOLLOW, '#speed?rate=2')) as Record<string, unknown>;
    check(linked.open === true && linked.rate === '2', `a link: ${JSON.stringify(linked)}`);
    const wrong = (await call(FOLLOW, '#speed?rate=x')) as { status: string };
    check(/learning rate expected a number from .*, got x/.test(wrong.status), `a wrong link: ${wrong.status}`);
    const lost = (await call(FOLLOW, '#nowhere')) as { notice: string };
    check(/nowhere/.test(lost.notice), `a link to nothing: ${lost.notice}`);
    const names = (await page.evaluate(
      "[...document.querySelectorAll('details[data-name]')].map((s) => s.dataset.name)",
    )) as string[];
    // each experiment, and the playground
    check(names.length === EXPERIMENTS.length + 1, `${names.length} experiments`);
    for (const name of names) {
      const { state, text, badge } = await run(name);
      check(state === 'done' && /live/.test(badge), `${name}: ${state} ${text}`);
      check(!/NaN|undefined/.test(text), `${name}: ${text}`);
    }
    const plain = await run('playground');
    check(plain.steps > 0, `${plain.steps} steps a second`);
    check(plain.charts === 3, `${plain.charts} live pictures`);
    const other = await run('playground', { norm: 'none', scale: '0.05', rate: '0.05' });
    check(other.text !== plain.text, 'controls change nothing');
    check(other.address.startsWith('#playground?') && /scale=0.05/.test(other.address), `address ${other.address}`);
    const over = (await call(AGAIN, { scale: '2' }, 300_000)) as string;
    check(/initial scale 2/.test(over) && /initial scale 0.05/.test(over), `two runs in one chart: ${over}`);
    const wild = await run('playground', { norm: 'none', activation: 'relu', rate: '1e9' });
    check(wild.state === 'done' && /the largest weight is now/.test(wild.text), `a rate of 1e9: ${wild.text}`);
    const single = await run('playground', { batch: '1' });
    check(/batch size expected a whole number from 2 .*, got 1/.test(single.text), `a batch of 1: ${single.text}`);
    const broken = await run('playground', { rate: 'NaN' });
    check(/learning rate expected a number from .*, got NaN/.test(broken.text), `a rate of NaN: ${broken.text}`);
    const deep = await run('playground', { depth: '30' });
    check(deep.state === 'done', `30 layers: ${deep.state} ${deep.text}`);
    const paused = (await call(PAUSE)) as { still: boolean; moved: boolean; gone: boolean; judged: string };
    check(
      paused.still && paused.moved && paused.gone && paused.judged === '',
      `pause and reset: ${JSON.stringify(paused)}`,
    );
    const width = (await call(WIDTH)) as { page: number; window: number };
    check(width.window === 360 && width.page <= width.window, `at 360 px: ${JSON.stringify(width)}`);
    await shot?.(`${folder}/narrow.png`, 360);
    check(complaints.length === 0, complaints.slice(0, 3).join('; '));
  } finally {
    close();
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
