// A tensor's name: its layer's, and its own behind the last point.

/** Joins a layer's name and a tensor's; a layer without a name adds nothing. */
export function joined(layer: string, leaf: string, separator = '.'): string {
  return layer === '' ? leaf : `${layer}${separator}${leaf}`;
}

/** Takes a name apart at its last point. */
export function parted(name: string): readonly [layer: string, leaf: string] {
  const cut = name.lastIndexOf('.');
  return [name.slice(0, Math.max(cut, 0)), name.slice(cut + 1)];
}
