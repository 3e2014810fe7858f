// What the page does once it is there: the duel begins, cards run, links are followed.

import { say as inWords, type Language, t, type Value } from '../words.ts';
import { Arena, NAME } from './arena.ts';
import { readLink } from './link.ts';
import { Stand } from './stand.ts';

const language = document.documentElement.lang as Language;
const say = (text: Value) => inWords(text, language);

const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches;
const arena = new Arena(document.getElementById(NAME)!, say, isStill);
const stands = [...document.querySelectorAll<HTMLDetailsElement>('details[data-name]')].map(
  (card) => new Stand(card, say, () => arena.rest()),
);

/** Does what the address says; answers whether that was about the duel. */
function follow(): boolean {
  const notice = document.getElementById('notice')!;
  notice.textContent = '';
  const link = readLink(location.hash);
  if (link?.name === NAME) {
    arena.follow(link);
    return true;
  }
  const stand = stands.find(({ name }) => name === link?.name);
  if (stand) stand.follow(link!);
  else if (link && !document.getElementById(link.name)) {
    notice.textContent = say(t`The link names ${link.name}, and there is no such experiment.`);
  }
  return false;
}

addEventListener('hashchange', follow);
// the other language keeps the settings
for (const other of document.querySelectorAll<HTMLAnchorElement>('a[hreflang]')) {
  other.addEventListener('click', () => {
    other.hash = location.hash;
  });
}
if (!follow()) arena.start();
