// The duel above the fold: two nets train in a worker, and are drawn as they go.

import { type Scene, type Settings, sceneBefore, sentenceOf } from '../duel.ts';
import { t, type Value } from '../words.ts';
import type { Say } from './chart.ts';
import { Fields } from './fields.ts';
import { hire, type Told } from './hire.ts';
import { isRefused } from './inputs.ts';
import { type Link, linkOf, settingsOf } from './link.ts';
import type { ToWorker } from './protocol.ts';
import { drawn } from './scene.ts';

export const NAME = 'duel';
/** Milliseconds between two sentences that are read out, unless one is the last. */
const SILENCE = 5000;

export class Arena {
  readonly #section: HTMLElement;
  readonly #fields: Fields;
  readonly #say: Say;
  /** Whoever looks would rather nothing moved: the end alone is shown. */
  readonly #isStill: boolean;
  #worker: Worker | undefined;
  #said = { key: '', at: Number.NEGATIVE_INFINITY };

  constructor(section: HTMLElement, say: Say, isStill: boolean) {
    this.#section = section;
    this.#say = say;
    this.#isStill = isStill;
    this.#fields = new Fields(section.querySelector('form')!);
    const { form } = this.#fields;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#begin();
    });
    // what is set takes effect at once
    form.addEventListener('change', () => this.#begin());
    this.#button('pause').addEventListener('click', () => this.#pause(this.#section.dataset.state !== 'paused'));
    for (const button of form.querySelectorAll<HTMLButtonElement>('[data-set]')) {
      button.addEventListener('click', () => {
        this.#fields.set({ ...this.#fields.defaults, ...JSON.parse(button.dataset.set!) });
        this.#begin();
      });
    }
  }

  /** Sets what a link says. */
  follow(link: Link): void {
    const found = settingsOf(link, this.#fields.defaults);
    if ('why' in found) {
      this.start();
      this.#refuse(found.why);
    } else {
      this.#fields.set(found.settings);
      this.#begin();
    }
  }

  /** Trains from the beginning with what is set. */
  start(): void {
    const settings = this.#fields.read();
    if (isRefused(settings)) {
      this.#refuse(settings.why);
      return;
    }
    this.#end('running');
    this.#refuse('');
    this.#said = { key: '', at: Number.NEGATIVE_INFINITY };
    this.#draw(sceneBefore(settings as Settings));
    this.#worker = hire({ do: 'duel', settings: settings as Settings, isStill: this.#isStill }, (told) =>
      this.#hear(told),
    );
  }

  /** Stands still while something else runs. */
  rest(): void {
    if (this.#section.dataset.state === 'running') this.#pause(true);
  }

  #begin(): void {
    const link = linkOf(NAME, this.#fields.typed);
    if (!isRefused(this.#fields.read())) history.replaceState(null, '', link);
    this.#part<HTMLAnchorElement>('link').href = link;
    this.start();
  }

  #part<T extends HTMLElement>(name: string): T {
    return this.#section.querySelector(`[data-part=${name}]`)!;
  }

  #button(action: string): HTMLButtonElement {
    return this.#section.querySelector(`[data-do=${action}]`)!;
  }

  #refuse(why: Value): void {
    const status = this.#part('status');
    status.textContent = this.#say(why);
    status.className = why === '' ? 'status' : 'status bad';
  }

  #hear(message: Told): void {
    if (message.tell === 'error') this.#fail(message.message);
    if (message.tell !== 'scene') return;
    this.#draw(message.scene, message.isDone);
    if (message.isDone) this.#end('done');
  }

  #fail(message: string): void {
    this.#refuse(t`It stopped: ${message}`);
    this.#end('failed');
  }

  /** The sentence is read out when it says something else, and at the end. */
  #draw(scene: Scene, isDone = false): void {
    this.#part('scene').innerHTML = drawn(scene, this.#say);
    const sentence = sentenceOf(scene);
    const words = this.#say(sentence);
    this.#part('sentence').textContent = words;
    const now = performance.now();
    if (!isDone && (sentence.key === this.#said.key || now - this.#said.at < SILENCE)) return;
    this.#said = { key: sentence.key, at: now };
    this.#part('said').textContent = words;
  }

  #pause(isPaused: boolean): void {
    this.#worker?.postMessage({ do: isPaused ? 'pause' : 'resume' } satisfies ToWorker);
    this.#button('pause').textContent = this.#say(isPaused ? t`Go on` : t`Pause`);
    this.#section.dataset.state = isPaused ? 'paused' : 'running';
  }

  #end(state: string): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#section.dataset.state = state;
    this.#button('pause').textContent = this.#say(t`Pause`);
    this.#button('pause').disabled = state !== 'running';
  }
}
