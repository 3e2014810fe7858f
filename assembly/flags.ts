// What is known when a loop is compiled is a type argument. (A constant argument will not do:
// Binaryen merges loops that differ in a constant alone, and tests it again for every vector.)

/** Compile-time answers. */
export class Yes {}
export class No {}

/** Is the type K the type A? Known at compile time. */
// @ts-ignore: decorator
@inline
export function is<K, A>(): bool {
  return idof<K>() == idof<A>();
}
