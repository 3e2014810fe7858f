// The page of the lab for everyone: in two languages, narrow and wide, dark and light, with a
// keyboard alone, and with the worst that can be entered.

import { englishIn } from '../support/english.ts';
import { launchChromium, launchFirefox } from './browsers.ts';
import type { Example } from './host.ts';
import { check, DUEL, type Duelled, type LabPage, type Outcome, RUN, served, watched } from './lab.ts';
import { type Driven, firstPaint, seriousFindings, tabThrough } from './usable.ts';

type Page = LabPage & Driven & { close(): Promise<unknown> };
/** Opens a page as wide as that. */
type Open = (width: number, isDark: boolean) => Promise<Page>;

const FILES = { en: '', zh: 'zh.html' } as const;
const WORST: Record<string, string> = { rate: '1e9', scale: '1000', batch: '1', depth: '30' };
/** Milliseconds that a run may take: 30 layers on a busy machine. */
const MOST = 600_000;
const UNSAID = /NaN|undefined|Infinity/;

/** Fields for numbers, their labels and defaults, card by card. */
const FIELDS = `(() => [...document.querySelectorAll('details[data-name], #duel')].map((place) => ({
  name: place.id,
  fields: [...place.querySelectorAll('.field input')].map(({ name, id, defaultValue }) => ({
    name,
    initial: defaultValue,
    label: place.querySelector('label[for="' + id + '"]').textContent,
  })),
})))()`;

/** An experiment, or the duel. */
interface Place {
  readonly name: string;
  readonly fields: readonly { readonly name: string; readonly initial: string; readonly label: string }[];
}

/** What a card says in all, its inputs aside. */
const SAID = `(name) => document.getElementById(name).innerText`;

/** All that is read, or read out. */
const TEXT = `(() => {
  const named = [...document.querySelectorAll('[aria-label]')].map((e) => e.getAttribute('aria-label'));
  return [document.title, document.body.innerText, ...named].join('\\n');
})()`;

const OPEN = `document.querySelectorAll('details').forEach((one) => { one.open = true; })`;
const WIDTHS = '[document.documentElement.scrollWidth, innerWidth]';

/** Everything that can be entered ends, or is refused in the words of its label; in Chinese. */
async function enterWorst(page: Page, url: string): Promise<void> {
  await page.goto(url);
  const call = (code: string, ...args: unknown[]) =>
    page.evaluate(`(${code})(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
  /** With defaults, but for one. */
  const run = async ({ name, fields }: Place, settings: object) => {
    const all = { ...Object.fromEntries(fields.map((field) => [field.name, field.initial])), ...settings };
    if (name !== 'duel') return (await call(RUN, name, all, MOST)) as Outcome;
    const { state, status, last } = (await call(DUEL, all, MOST)) as Duelled;
    return { state, text: status || last };
  };
  const places = (await page.evaluate(FIELDS)) as Place[];
  check(places.some(({ name }) => name === 'duel') && places.length > 15, `${places.length} places with inputs`);
  for (const place of places) {
    for (const { name, label } of place.fields) {
      const what = `${place.name}, ${name}`;
      const broken = await run(place, { [name]: 'NaN' });
      check(broken.text.includes(`${label}应为`) && broken.text.endsWith('NaN'), `${what} NaN: ${broken.text}`);
      const { state, text } = await run(place, { [name]: WORST[name] });
      const isRefused = name === 'batch' && text.includes(`${label}应为`);
      check(state === 'done' || isRefused, `${what} ${WORST[name]}: ${state} ${text}`);
      check(englishIn(text).length === 0, `${what} ${WORST[name]}, in English: ${text}`);
      const said = String(await call(SAID, place.name));
      check(!UNSAID.test(said), `${what} ${WORST[name]}: ${said.match(UNSAID)}`);
    }
  }
  const playground = places.find(({ name }) => name === 'playground')!;
  const single = await run(playground, { batch: '1', norm: 'none' });
  check(single.state === 'done', `a batch of 1 without a norm: ${single.text}`);
}

/** A page with all that can be opened: nothing serious, nothing cut off. */
async function look(page: Page, language: string, what: string): Promise<void> {
  await page.evaluate(OPEN);
  const findings = await seriousFindings(page);
  check(findings.length === 0, `${what}: ${findings.join('; ')}`);
  const [own, window] = (await page.evaluate(WIDTHS)) as [number, number];
  check(own <= window, `${what}: ${own} px wide in ${window}`);
  if (language === 'zh') {
    const words = englishIn(String(await page.evaluate(TEXT)));
    check(words.length === 0, `${what}, in English: ${words.slice(0, 10).join(' ')}`);
  }
}

async function lookAll(open: Open): Promise<void> {
  const { origin, close } = await served();
  const complaints: string[] = [];
  const visit = async (width: number, isDark: boolean, file: string, work: (page: Page) => Promise<void>) => {
    const page = await open(width, isDark);
    watched(page, origin, complaints);
    try {
      await page.goto(`${origin}/${file}`);
      await work(page);
    } finally {
      await page.close();
    }
  };
  try {
    await visit(1280, false, '', async (page) => {
      console.log(`  first contentful paint after ${Math.round(await firstPaint(page))} ms`);
    });
    for (const [language, file] of Object.entries(FILES)) {
      for (const width of [360, 1280]) {
        for (const isDark of [false, true]) {
          const what = `${language}, ${width} px, ${isDark ? 'dark' : 'light'}`;
          await visit(width, isDark, file, async (page) => {
            await look(page, language, what);
            if (!isDark) await tabThrough(page);
          });
        }
      }
    }
    await visit(1280, false, FILES.zh, (page) => enterWorst(page, `${origin}/${FILES.zh}`));
    check(complaints.length === 0, complaints.slice(0, 3).join('; '));
  } finally {
    close();
  }
}

export const labLooks: Example[] = [
  {
    name: 'Lab page for everyone, Chromium',
    heavy: true,
    run: async () => {
      const browser = await launchChromium();
      try {
        await lookAll((width, isDark) =>
          browser.newPage({ viewport: { width, height: 900 }, colorScheme: isDark ? 'dark' : 'light' }),
        );
      } finally {
        await browser.close();
      }
      return 'relaxed';
    },
  },
  {
    name: 'Lab page for everyone, Firefox',
    heavy: true,
    run: async () => {
      const browsers = [await launchFirefox(), await launchFirefox({ isDark: true })];
      try {
        await lookAll(async (width, isDark) => {
          const page = await browsers[Number(isDark)].newPage();
          await page.setViewport({ width, height: 900 });
          return page;
        });
      } finally {
        for (const browser of browsers) await browser.close();
      }
      return 'simd';
    },
  },
];
