// The inputs of a form: read, set and marked.

import type { Controls } from '../experiment.ts';
import { isRefused, type Refused, readControls } from './inputs.ts';

type Field = HTMLInputElement | HTMLSelectElement;

const initial = (field: Field) =>
  field instanceof HTMLInputElement
    ? field.defaultValue
    : [...field.options].find(({ defaultSelected }) => defaultSelected)!.value;

export class Fields {
  readonly form: HTMLFormElement;

  constructor(form: HTMLFormElement) {
    this.form = form;
  }

  get #all(): Field[] {
    return [...this.form.querySelectorAll<Field>('.field [name]')];
  }

  get typed(): Record<string, string> {
    return Object.fromEntries(this.#all.map((field) => [field.name, field.value]));
  }

  get defaults(): Record<string, string> {
    return Object.fromEntries(this.#all.map((field) => [field.name, initial(field)]));
  }

  set(values: Readonly<Record<string, string>>): void {
    for (const field of this.#all) if (field.name in values) field.value = values[field.name];
    this.#mark();
  }

  /** What they are set to; what cannot be is marked. */
  read(): Partial<Controls> | Refused {
    const read = readControls(this.typed);
    this.#mark(isRefused(read) ? read.refused : undefined);
    return read;
  }

  #mark(refused?: string): void {
    for (const field of this.#all) {
      if (field.name === refused) field.setAttribute('aria-invalid', 'true');
      else field.removeAttribute('aria-invalid');
    }
  }
}
