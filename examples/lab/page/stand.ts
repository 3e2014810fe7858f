// One experiment's card: runs it in a worker, and shows what it is told.

import type { Controls } from '../experiment.ts';
import { percent } from '../training.ts';
import { t, type Value } from '../words.ts';
import { around, chart, markup, type Say, strips } from './chart.ts';
import { Fields } from './fields.ts';
import { hire, type Told } from './hire.ts';
import { isRefused, settingsIn, shortly } from './inputs.ts';
import { type Link, linkOf, settingsOf } from './link.ts';
import type { Live, ToWorker } from './protocol.ts';
import { badge, isSame, picture, type Run, rendered } from './render.ts';

/** Top of the axis of a live loss; chance is 2.3. */
const MOST_LOSS = 5;
const SEED = 1;

export class Stand {
  readonly name: string;
  readonly #card: HTMLDetailsElement;
  readonly #fields: Fields;
  readonly #say: Say;
  /** What stood there when the page came. */
  readonly #kept: readonly (readonly [part: string, html: string, kind: string])[];
  #worker: Worker | undefined;
  #paused = false;
  #losses: { x: number[]; y: number[] } = { x: [], y: [] };
  #last: Run | undefined;
  #before: Run | undefined;
  /** Words about the last run, which stand above its charts. */
  #head = '';

  /** `begins` is called before a run. */
  constructor(card: HTMLDetailsElement, say: Say, begins: () => void) {
    this.#card = card;
    this.#say = say;
    this.name = card.dataset.name!;
    this.#fields = new Fields(card.querySelector('form')!);
    this.#kept = ['picture', 'badge', 'result'].map((part) => {
      const { innerHTML, className } = this.#part(part);
      return [part, innerHTML, className] as const;
    });
    const on = (action: string, work: () => void) => this.#button(action).addEventListener('click', work);
    on('pause', () => this.#pause());
    on('reset', () => this.#reset());
    this.#fields.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#run(begins);
    });
    this.#fields.form.addEventListener('input', () => this.#point());
    this.#part('compare').addEventListener('change', () => this.#render());
  }

  /** Opens the card with the settings of a link. */
  follow(link: Link): void {
    this.#card.open = true;
    const found = settingsOf(link, this.#fields.defaults);
    if ('why' in found) this.#tell(found.why, 'bad');
    else {
      this.#fields.set(found.settings);
      this.#point();
    }
    this.#card.scrollIntoView();
  }

  #part<T extends HTMLElement>(name: string): T {
    return this.#card.querySelector(`[data-part=${name}]`)!;
  }

  #button(action: string): HTMLButtonElement {
    return this.#card.querySelector(`[data-do=${action}]`)!;
  }

  #tell(text: Value, kind = ''): void {
    const status = this.#part('status');
    status.textContent = this.#say(text);
    status.className = `status ${kind}`;
  }

  #judge(kind: string, text: string): void {
    this.#part('badge').className = `badge ${kind}`;
    this.#part('badge').innerHTML = text && `<b>${markup(text)}</b>`;
  }

  /** The link to what the inputs say. */
  #point(): void {
    this.#part<HTMLAnchorElement>('link').href = linkOf(this.name, this.#fields.typed);
  }

  /** What stood there goes at once, its verdict and its setup with it. */
  #run(begins: () => void): void {
    const controls = this.#fields.read();
    if (isRefused(controls)) {
      this.#tell(controls.why, 'bad');
      return;
    }
    this.#end();
    begins();
    history.replaceState(null, '', linkOf(this.name, this.#fields.typed));
    this.#losses = { x: [], y: [] };
    this.#part('live').replaceChildren();
    this.#part('result').replaceChildren();
    this.#part('picture').replaceChildren();
    this.#judge('', this.#say(t`running`));
    this.#tell(t`starting`);
    this.#worker = hire({ do: 'run', name: this.name, seed: SEED, controls }, (told) => this.#hear(told, controls));
    this.#button('pause').disabled = false;
    this.#card.dataset.state = 'running';
  }

  #fail(text: Value): void {
    this.#tell(text, 'bad');
    this.#judge('', this.#say(t`no result`));
    this.#end('failed');
  }

  #hear(message: Told, controls: Partial<Controls>): void {
    if (message.tell === 'progress') this.#tell(message.text);
    else if (message.tell === 'live') this.#draw(message.live);
    else if (message.tell === 'result') this.#show(message, controls);
    else if (message.tell === 'error') this.#fail(t`It stopped: ${message.message}`);
  }

  #draw(live: Live): void {
    if (live.step < (this.#losses.x.at(-1) ?? 0)) this.#losses = { x: [], y: [] };
    this.#losses.x.push(live.step);
    // a loss beyond the axis, or no number, stands at its edge
    this.#losses.y.push(live.loss <= MOST_LOSS ? live.loss : MOST_LOSS);
    this.#part('live').innerHTML = liveCharts(live, this.#losses, this.#say);
    this.#card.dataset.steps = String(Math.round(live.stepsPerSecond));
  }

  #show({ result, trained, held }: Extract<Told, { tell: 'result' }>, controls: Partial<Controls>): void {
    const { kind, text } = badge(result.holds, this.#say);
    const verdict = this.#say(result.verdict);
    const where = this.#say(
      t`Live in this page: seed ${SEED}, on ${trained} training digits and ${held} held-out ones.`,
    );
    this.#head = `<p class="verdict">${markup(text)} ${markup(verdict)}</p><p class="soft">${markup(this.#say(result.setup))} ${markup(where)}</p>`;
    // a run of the same settings takes the place of the last one
    if (this.#last && !isSame(this.#last.controls, controls)) this.#before = this.#last;
    this.#last = { result, controls };
    this.#end('done');
    this.#render();
    this.#part('picture').innerHTML = picture(result);
    this.#judge(kind, this.#say(t`${text} (live)`));
    // it is read out, and stands below
    this.#tell(t`Done. ${text} ${result.verdict}`, 'off');
  }

  /** The last run; the one before in it, if that is asked for. */
  #render(): void {
    if (!this.#last || this.#card.dataset.state === 'running' || this.#card.dataset.state === 'paused') return;
    const isCompared = this.#part<HTMLInputElement>('compare').checked;
    const before = isCompared ? this.#before : undefined;
    const past = before
      ? `<p class="soft">${markup(this.#say(t`The run before, drawn thin: ${settingsIn(before.controls)}. ${before.result.verdict}`))}</p>`
      : '';
    this.#part('result').innerHTML = `${this.#head}${past}${rendered(this.#last, before, this.#say)}`;
  }

  #pause(): void {
    this.#paused = !this.#paused;
    this.#worker?.postMessage({ do: this.#paused ? 'pause' : 'resume' } satisfies ToWorker);
    this.#button('pause').textContent = this.#say(this.#paused ? t`Go on` : t`Pause`);
    this.#card.dataset.state = this.#paused ? 'paused' : 'running';
  }

  #reset(): void {
    this.#end('');
    [this.#last, this.#before] = [undefined, undefined];
    this.#part('live').replaceChildren();
    for (const [part, html, kind] of this.#kept) Object.assign(this.#part(part), { innerHTML: html, className: kind });
    this.#fields.set(this.#fields.defaults);
    this.#point();
    this.#tell('');
  }

  #end(state = ''): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#paused = false;
    this.#button('pause').disabled = true;
    this.#button('pause').textContent = this.#say(t`Pause`);
    this.#card.dataset.state = state;
  }
}

/** The net that trains now, or trained last: its loss, its last activation, one of its neurons. */
function liveCharts(live: Live, losses: { x: number[]; y: number[] }, say: Say): string {
  const loss = chart(
    {
      title: say(t`The net that trained last (${Math.round(live.stepsPerSecond)} steps a second)`),
      series: [{ label: say(t`loss`), tone: 'a', ...losses }],
      xLabel: say(t`training steps`),
      yLabel: say(t`loss (${MOST_LOSS}: that or more)`),
      yRange: [0, MOST_LOSS],
      isBare: true,
    },
    say,
  );
  const [low, top] = live.range;
  const high = top > low ? top : low + 1;
  const wide = (high - low) / live.histogram.length;
  const most = Math.max(...live.histogram, 0.01);
  const histogram = chart(
    {
      title: say(t`Outputs of its last activation`),
      series: [
        {
          label: say(t`outputs`),
          tone: 'b',
          x: live.histogram.map((_, i) => low + (i + 0.5) * wide),
          y: live.histogram,
        },
      ],
      xLabel: say(t`output of a unit`),
      yLabel: say(t`share of outputs`),
      xRange: [low, high],
      yRange: [0, most],
      xTicks: [low, (low + high) / 2, high].map((at) => [at, shortly(at)] as const),
      yTicks: [0, most].map((at) => [at, percent(at)] as const),
      isBars: true,
      isBare: true,
    },
    say,
  );
  const rows = live.neuron.map(({ stage, values }) => ({
    label: say(stage),
    values,
    range: around(values),
    tone: 'a' as const,
  }));
  const neuron = rows.length ? strips(say(t`One of its neurons, a dot for each digit`), rows, say) : '';
  return `${loss}${live.histogram.some(Boolean) ? histogram : ''}${neuron}`;
}
