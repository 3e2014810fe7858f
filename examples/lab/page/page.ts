// What the page does once it is there: runs experiments in a worker and draws what it is told.

import { lineChart } from '../../digits/chart.ts';
import type { Controls, Result } from '../experiment.ts';
import { isNumber, readNumber } from './inputs.ts';
import type { FromWorker, Live, ToWorker } from './protocol.ts';
import { markup, rendered } from './render.ts';

const short = (value: number) => String(Number(value.toPrecision(2)));
const byId = (id: string) => document.getElementById(id)!;

/** Top of the axis of a live loss; chance is 2.3. */
const MOST_LOSS = 5;

/** One experiment's part of the page. */
class Stand {
  readonly #name: string;
  readonly #section: HTMLElement;
  /** What stood there when the page came. */
  readonly #kept: string;
  #worker: Worker | undefined;
  #paused = false;
  #losses: { x: number[]; y: number[] } = { x: [], y: [] };

  constructor(section: HTMLElement) {
    this.#section = section;
    this.#name = section.dataset.name!;
    this.#kept = this.#part('result').innerHTML;
    const on = (action: string, work: () => void) =>
      section.querySelector(`[data-do=${action}]`)!.addEventListener('click', work);
    on('run', () => this.#run());
    on('pause', () => this.#pause());
    on('reset', () => this.#reset());
    section.querySelector('form')!.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#run();
    });
  }

  #part(name: string): HTMLElement {
    return this.#section.querySelector(`[data-part=${name}]`)!;
  }

  #button(action: string): HTMLButtonElement {
    return this.#section.querySelector(`[data-do=${action}]`)!;
  }

  #say(text: string, kind = ''): void {
    const status = this.#part('status');
    status.textContent = text;
    status.className = `status ${kind}`;
  }

  /** What the controls are set to; a sentence where that cannot be. */
  #controls(): Partial<Controls> | string {
    const found: Record<string, number | string> = {};
    for (const input of this.#section.querySelectorAll<HTMLInputElement | HTMLSelectElement>('[name]')) {
      const name = input.name as keyof Controls;
      if (!isNumber(name)) found[name] = input.value;
      else {
        const value = readNumber(name, input.value);
        if (typeof value === 'string') return value;
        found[name] = value;
      }
    }
    return found as Partial<Controls>;
  }

  #run(): void {
    const controls = this.#controls();
    if (typeof controls === 'string') {
      this.#say(controls, 'bad');
      return;
    }
    this.#end();
    this.#losses = { x: [], y: [] };
    this.#part('live').replaceChildren();
    this.#part('result').replaceChildren();
    this.#say('starting');
    const worker = new Worker('worker.js', { type: 'module' });
    this.#worker = worker;
    worker.onmessage = ({ data }: { data: FromWorker }) => this.#hear(data, controls);
    worker.onerror = (event) => this.#say(`the worker stopped: ${event.message}`, 'bad');
    this.#button('pause').disabled = false;
    this.#button('pause').textContent = 'Pause';
    this.#section.dataset.state = 'running';
  }

  #send(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }

  #hear(message: FromWorker, controls: Partial<Controls>): void {
    if (message.tell === 'ready') this.#send({ do: 'run', name: this.#name, seed: 1, controls });
    else if (message.tell === 'progress') this.#say(message.text);
    else if (message.tell === 'live') this.#draw(message.live);
    else if (message.tell === 'result') this.#show(message.result, message.judged);
    else {
      this.#say(`It stopped: ${message.message}`, 'bad');
      this.#end('failed');
    }
  }

  #draw(live: Live): void {
    if (live.step < (this.#losses.x.at(-1) ?? 0)) this.#losses = { x: [], y: [] };
    this.#losses.x.push(live.step);
    this.#losses.y.push(live.loss);
    // a loss beyond the axis stands at its edge
    const finite = this.#losses.y.map((value) => (value <= MOST_LOSS ? value : MOST_LOSS));
    const loss = lineChart([{ label: 'this net', tone: 'a', x: this.#losses.x, y: finite }], {
      title: `Loss while it trains (${Math.round(live.stepsPerSecond)} steps a second)`,
      xLabel: 'training steps',
      yLabel: `loss (${MOST_LOSS}: that or more)`,
      yRange: [0, MOST_LOSS],
      format: (value) => String(Number(value.toPrecision(3))),
    });
    const histogram = bars(live.histogram, live.range);
    this.#part('live').innerHTML = `${this.#losses.x.length > 1 ? loss : ''}${histogram}${pipeline(live.neuron)}`;
    this.#section.dataset.steps = String(Math.round(live.stepsPerSecond));
  }

  /** What the run found takes the place of what was there, its verdict and its setup with it. */
  #show(result: Result<string>, judged: string): void {
    const head = `<p class="verdict"><b>${judged}</b> ${markup(result.verdict)}</p><p class="soft">${markup(result.setup)} Live in this page, seed 1.</p>`;
    this.#part('result').innerHTML = `${head}${rendered(result)}`;
    this.#say(`Done, live in this page. ${judged} ${result.verdict}`, result.holds === false ? 'bad' : '');
    this.#end('done');
  }

  #pause(): void {
    this.#paused = !this.#paused;
    this.#send({ do: this.#paused ? 'pause' : 'resume' });
    this.#button('pause').textContent = this.#paused ? 'Go on' : 'Pause';
    this.#section.dataset.state = this.#paused ? 'paused' : 'running';
  }

  #reset(): void {
    this.#end('');
    this.#part('live').replaceChildren();
    this.#part('result').innerHTML = this.#kept;
    this.#section.querySelector('form')!.reset();
    this.#say('');
  }

  #end(state = ''): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#paused = false;
    this.#button('pause').disabled = true;
    this.#section.dataset.state = state;
  }
}

/** Shares of values in bins, as bars from 0. */
function bars(shares: readonly number[], [low, high]: readonly [number, number]): string {
  const most = Math.max(...shares, 1e-9);
  const width = 480 / shares.length;
  const drawn = shares.map((share, i) => {
    const tall = (share / most) * 220;
    return `<rect class="bar" x="${(60 + i * width).toFixed(1)}" y="${(240 - tall).toFixed(1)}" width="${(width - 2).toFixed(1)}" height="${tall.toFixed(1)}"/>`;
  });
  const marks = [low, (low + high) / 2, high].map(
    (value, i) => `<text class="tick" x="${60 + i * 240}" y="262" text-anchor="middle">${short(value)}</text>`,
  );
  return `<figure><figcaption>Histogram of the last activation</figcaption><svg viewBox="0 0 560 300" role="img" aria-label="Histogram of the last activation from ${short(low)} to ${short(high)}; the tallest bar holds ${(most * 100).toFixed(0)} % of the values.">${drawn.join('')}<line class="axis" x1="60" x2="540" y1="240" y2="240"/>${marks.join('')}<text class="tick" x="54" y="30" text-anchor="end">${(most * 100).toFixed(0)} %</text><text class="label" x="300" y="290" text-anchor="middle">activation</text></svg></figure>`;
}

/** One neuron's values on their way through the layers: a row of dots for each stage. */
function pipeline(neuron: Live['neuron']): string {
  if (neuron.length === 0) return '';
  const width = 560;
  const rows = neuron.map(({ stage, values }, i) => {
    const finite = values.filter(Number.isFinite);
    const most = Math.max(1, ...finite.map(Math.abs));
    const y = 30 + i * 56;
    const dots = finite
      .map((v) => `<circle class="dot" cx="${(330 + (v / most) * 200).toFixed(1)}" cy="${y}" r="4"/>`)
      .join('');
    return `<text class="label" x="8" y="${y + 4}">${stage}</text><line class="axis" x1="120" x2="540" y1="${y}" y2="${y}"/><text class="tick" x="126" y="${y + 20}">−${most.toPrecision(2)}</text><text class="tick" x="330" y="${y + 20}" text-anchor="middle">0</text><text class="tick" x="534" y="${y + 20}" text-anchor="end">${most.toPrecision(2)}</text>${dots}`;
  });
  const text = neuron.map(({ stage, values }) => {
    const finite = values.filter(Number.isFinite);
    const mean = finite.reduce((a, b) => a + b, 0) / finite.length;
    return `${stage}: ${finite.length} values, mean ${mean.toPrecision(2)}`;
  });
  return `<figure><figcaption>One neuron on its way: ${neuron.map(({ stage }) => stage).join(' → ')}</figcaption><svg viewBox="0 0 ${width} ${20 + neuron.length * 56}" role="img" aria-label="${text.join('; ')}">${rows.join('')}</svg></figure>`;
}

for (const section of document.querySelectorAll<HTMLElement>('section[data-name]')) new Stand(section);
byId('js').textContent = 'Everything runs in this page, in a worker: press Run.';
// something moves at once, unless whoever looks would rather it did not
if (!matchMedia('(prefers-reduced-motion: reduce)').matches) {
  document.querySelector<HTMLButtonElement>('#playground [data-do=run]')!.click();
}
