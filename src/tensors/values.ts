import { copied, held, type Stored } from './stored.ts';

/**
 * Values that belong to a layer and that users may read and write. They lie outside linear memory,
 * so that an array once handed out stays good whatever memory does.
 *
 * Who has kept something worked out from the values asks `isSame`: as long as nobody holds the
 * array, that compares one number.
 *
 * Values that are stored elsewhere are taken into an array when somebody asks for one, which a
 * network that is only compiled never does.
 */
export class Values {
  /** Where the values are, until there is an array of them. */
  #stored: Stored | undefined;
  #values!: Float32Array;
  #bits!: Int32Array;
  #version = 0;
  #exposed = false;

  constructor(values: Float32Array | Stored) {
    if (values instanceof Float32Array) this.#take(values);
    else this.#stored = values;
  }

  #take(values: Float32Array): void {
    this.#values = values;
    this.#bits = bitsOf(values);
    this.#stored = undefined;
  }

  /** For users: whoever has this may write to it at any time. */
  get open(): Float32Array {
    this.#exposed = true;
    return this.now;
  }

  /** For reading, by code that does not keep it. */
  get now(): Float32Array {
    if (this.#stored) this.#take(copied(this.#stored));
    return this.#values;
  }

  /** For writing, by code that does not keep it. */
  get writable(): Float32Array {
    this.#version++;
    return this.now;
  }

  /** For keeping: what the values are now, whatever becomes of them. */
  get kept(): Stored {
    return this.#stored ?? held(this.now.slice());
  }

  /**
   * Changes whenever the values may have changed: equal stamps mean equal values. NaN, equal to
   * nothing, once a user holds the array.
   */
  get stamp(): number {
    return this.#exposed ? Number.NaN : this.#version;
  }

  /** A copy to compare with later. */
  snapshot(): Snapshot {
    const values = this.now.slice();
    return { version: this.#version, values, bits: bitsOf(values) };
  }

  isSame({ version, bits }: Snapshot): boolean {
    if (this.#version !== version) return false;
    if (!this.#exposed) return true;
    const now = this.#bits;
    for (let i = 0; i < bits.length; i++) if (now[i] !== bits[i]) return false;
    return true;
  }
}

/** Values as they were. */
export interface Snapshot {
  readonly version: number;
  readonly values: Float32Array;
  /** The same as bits: a NaN is the same as itself. */
  readonly bits: Int32Array;
}

function bitsOf({ buffer, byteOffset, length }: Float32Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length);
}
