// Typed arrays as they are, whichever realm they come from (node:vm, Jest, frames) and whatever a
// program has put over their properties: kind, memory and length are read from internal slots.

/** Any typed array. */
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array | BigInt64Array | BigUint64Array;

/** What the getter of %TypedArray%.prototype says of an array. */
function slot(array: unknown, name: PropertyKey): never {
  return Reflect.get(Object.getPrototypeOf(Float32Array.prototype), name, array) as never;
}

/** The same values as a typed array of this realm, of its own kind; undefined for anything else. */
export function viewOf(array: unknown): TypedArray | undefined {
  const kind: string | undefined = slot(array, Symbol.toStringTag);
  if (!kind) return undefined;
  const Kind = globalThis[kind as 'Float32Array'];
  const length = slot(array, 'length');
  // an array that was given away has no memory to look at
  return length ? new Kind(slot(array, 'buffer'), slot(array, 'byteOffset'), length) : new Kind(0);
}

/** The same values as a Float32Array of this realm; undefined for anything else. */
export function floatsOf(array: unknown): Float32Array | undefined {
  const view = viewOf(array);
  return view instanceof Float32Array ? view : undefined;
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
