// Typed arrays as they are, whichever realm they come from (node:vm, Jest, frames) and whatever a
// program has put over their properties: kind, memory and length are read from internal slots.

const KINDS = {
  Float32Array,
  Float64Array,
  Int8Array,
  Int16Array,
  Int32Array,
  Uint8Array,
  Uint8ClampedArray,
  Uint16Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
};

type Kinds = typeof KINDS;
/** Any typed array. */
export type TypedArray = InstanceType<Kinds[keyof Kinds]>;

/** The getter of %TypedArray%.prototype that reads a slot. */
const slot = (name: PropertyKey) => {
  const { get } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Float32Array.prototype), name)!;
  return (array: unknown) => get!.call(array);
};
const kindSlot = /* @__PURE__ */ slot(Symbol.toStringTag);
const bufferSlot = /* @__PURE__ */ slot('buffer');
const offsetSlot = /* @__PURE__ */ slot('byteOffset');
const lengthSlot = /* @__PURE__ */ slot('length');

/** The same values as a typed array of this realm, of its own kind; undefined for anything else. */
export function viewOf(array: unknown): TypedArray | undefined {
  const Kind = KINDS[kindSlot(array) as keyof Kinds];
  if (!Kind) return undefined;
  const length: number = lengthSlot(array);
  // an array that was given away has no memory to look at
  return length ? new Kind(bufferSlot(array), offsetSlot(array), length) : new Kind(0);
}

/** The same values as a Float32Array of this realm; undefined for anything else. */
export function floatsOf(array: unknown): Float32Array | undefined {
  if (kindSlot(array) !== 'Float32Array') return undefined;
  const length: number = lengthSlot(array);
  return length ? new Float32Array(bufferSlot(array), offsetSlot(array), length) : new Float32Array(0);
}

/** The values of an array of any kind, read once; undefined for anything else. */
export function listOf(values: unknown): ArrayLike<unknown> | undefined {
  return Array.isArray(values) ? Array.from(values) : viewOf(values);
}

/** The bytes of an ArrayBuffer of any realm; undefined for anything else. */
export function bytesOfBuffer(buffer: unknown): Uint8Array<ArrayBuffer> | undefined {
  const isBuffer = Object.prototype.toString.call(buffer) === '[object ArrayBuffer]';
  return isBuffer ? new Uint8Array(buffer as ArrayBuffer) : undefined;
}
