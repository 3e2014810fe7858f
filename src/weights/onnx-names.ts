// What names and attributes of ONNX nodes mean.

/** `bn1` for `bn1.weight`. */
export function layerName(tensor: string): string | undefined {
  return /^(.+)[./](?:weight|gamma|scale)$/.exec(tensor)?.[1];
}

/** An attribute as the decimal that was meant: floats of 32 bits make 0.9 into 0.8999999761581421. */
export function shortest(value: unknown, standard: number): number {
  if (typeof value !== 'number') return standard;
  for (let digits = 1; digits < 10; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}
