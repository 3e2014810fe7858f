// What a page is to whoever has no mouse, or does not see it; with either driver.

import { readFileSync } from 'node:fs';
import { packages } from './install.ts';

/** What is asked of a driver's page. */
export interface Driven {
  evaluate(code: string): Promise<unknown>;
  readonly keyboard: { press(key: string): Promise<unknown> };
}

const PAINTED = `new Promise((resolve) => {
  const found = (list) => list.getEntriesByName('first-contentful-paint').forEach(({ startTime }) => resolve(startTime));
  new PerformanceObserver(found).observe({ type: 'paint', buffered: true });
})`;

/** Milliseconds until the page showed anything, which may still be to come. */
export const firstPaint = async (page: Driven): Promise<number> => Number(await page.evaluate(PAINTED));

const AXE = `(async () => {
  const { violations, passes } = await axe.run(document);
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const named = ({ id, nodes }) => id + ' at ' + nodes.slice(0, 3).map(({ target }) => target.join(' ')).join(', ');
  return { passed: passes.length, serious: serious.map(named) };
})()`;

/** What axe-core calls serious or critical in the page as it is, and where. */
export async function seriousFindings(page: Driven): Promise<string[]> {
  const folder = await packages('axe', 'axe-core');
  const source = readFileSync(`${folder}node_modules/axe-core/axe.min.js`, 'utf8');
  await page.evaluate(`window.axe || (0, eval)(${JSON.stringify(source)}), 0`);
  const { passed, serious } = (await page.evaluate(AXE)) as { passed: number; serious: string[] };
  if (passed < 10) throw new Error(`axe-core looked at ${passed} rules only`);
  return serious;
}

/** Where the last press of Tab led, among all that can be reached by it in order of the page. */
interface Stop {
  readonly what: string;
  /** Place in that order; −1: a part that scrolls, or nothing. */
  readonly at: number;
  readonly before: number;
  readonly many: number;
  readonly isScroller: boolean;
  readonly isMarked: boolean;
  readonly isInView: boolean;
}

const STOP = `(() => {
  const isAlternative = (e) =>
    e.type === 'radio' && !e.checked && document.querySelector('[type=radio][name="' + e.name + '"]:checked');
  const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')].filter(
    (e) => e.tabIndex >= 0 && !e.disabled && !isAlternative(e) && e.checkVisibility({ visibilityProperty: true }),
  );
  const now = document.activeElement ?? document.body;
  const at = all.indexOf(now);
  const before = all.indexOf(window.lastStop);
  if (at >= 0) window.lastStop = now;
  const { outlineStyle, outlineWidth } = getComputedStyle(now);
  const { top, bottom, left, right } = now.getBoundingClientRect();
  return {
    what: now.localName + ' ' + (now.name || now.id || now.textContent.trim().slice(0, 30)),
    at,
    before,
    many: all.length,
    isScroller: now !== document.body && (now.scrollWidth > now.clientWidth || now.scrollHeight > now.clientHeight),
    isMarked: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2,
    isInView: bottom > 0 && top < innerHeight && right > 0 && left < innerWidth,
  };
})()`;

/**
 * Goes through the page with Tab, from its top: every control is reached, in order, in view, and is
 * seen to have the focus. How many there are.
 */
export async function tabThrough(page: Driven): Promise<number> {
  await page.evaluate('document.activeElement?.blur(), scrollTo(0, 0), (window.lastStop = undefined)');
  for (let presses = 0; presses < 2000; presses++) {
    await page.keyboard.press('Tab');
    const { what, at, before, many, isScroller, isMarked, isInView } = (await page.evaluate(STOP)) as Stop;
    if (at < 0 && !isScroller) throw new Error(`Tab led nowhere after ${before + 1} of ${many} controls (${what})`);
    if (at >= 0 && at !== before + 1) throw new Error(`Tab led from control ${before + 1} to ${at + 1} (${what})`);
    if (!isMarked) throw new Error(`the focus is not seen at ${what}`);
    if (!isInView) throw new Error(`the focus is out of view at ${what}`);
    if (at === many - 1) return many;
  }
  throw new Error('Tab came to no end');
}
