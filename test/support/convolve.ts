// A convolution as plain loops, written from its definition: what folded weights are tried with.
// PyTorch's layouts.

export interface Conv {
  weight: ArrayLike<number>;
  /** `[out, in/groups, ...window]`; transposed `[in, out/groups, ...window]`. */
  shape: readonly number[];
  bias?: ArrayLike<number> | null;
  stride?: number;
  padding?: number;
  dilation?: number;
  groups?: number;
  transposed?: boolean;
  outputPadding?: number;
}

/** `[N, in, ...]` → `[N, out, ...]`, in f64. */
export function convolve(
  x: { data: ArrayLike<number>; shape: readonly number[] },
  {
    weight,
    shape,
    bias,
    stride = 1,
    padding = 0,
    dilation = 1,
    groups = 1,
    transposed = false,
    outputPadding = 0,
  }: Conv,
): { data: Float64Array; shape: number[] } {
  const three = <T>(values: readonly T[], fill: T): T[] => [
    ...Array.from({ length: 3 - values.length }, () => fill),
    ...values,
  ];
  const axes = shape.length - 2;
  const [D, H, W] = three(x.shape.slice(2), 1);
  const [KD, KH, KW] = three(shape.slice(2), 1);
  const [N, I] = x.shape;
  const O = transposed ? shape[1] * groups : shape[0];
  const param = (value: number, standard: number) =>
    three(
      Array.from({ length: axes }, () => value),
      standard,
    );
  const [s, p, d, e] = [param(stride, 1), param(padding, 0), param(dilation, 1), param(outputPadding, 0)];
  const size = (n: number, k: number, a: number) =>
    transposed
      ? (n - 1) * s[a] - 2 * p[a] + d[a] * (k - 1) + e[a] + 1
      : Math.floor((n + 2 * p[a] - d[a] * (k - 1) - 1) / s[a]) + 1;
  const [OD, OH, OW] = [size(D, KD, 0), size(H, KH, 1), size(W, KW, 2)];
  const data = new Float64Array(N * O * OD * OH * OW);
  const at = (n: number, o: number, z: number, y: number, w: number) => (((n * O + o) * OD + z) * OH + y) * OW + w;
  for (let i = 0; i < data.length; i++) data[i] = bias ? bias[Math.floor(i / (OD * OH * OW)) % O] : 0;
  for (let n = 0; n < N; n++)
    for (let o = 0; o < O; o++)
      for (let c = 0; c < I; c++) {
        if (Math.floor(o / (O / groups)) !== Math.floor(c / (I / groups))) continue;
        for (let kz = 0; kz < KD; kz++)
          for (let ky = 0; ky < KH; ky++)
            for (let kx = 0; kx < KW; kx++) {
              const [a, b] = transposed ? [c, o % (O / groups)] : [o, c % (I / groups)];
              const w = weight[(((a * shape[1] + b) * KD + kz) * KH + ky) * KW + kx];
              const [zs, ys, xs] = transposed ? [D, H, W] : [OD, OH, OW];
              for (let z = 0; z < zs; z++)
                for (let y = 0; y < ys; y++)
                  for (let v = 0; v < xs; v++) {
                    const there = [
                      z * s[0] + kz * d[0] - p[0],
                      y * s[1] + ky * d[1] - p[1],
                      v * s[2] + kx * d[2] - p[2],
                    ];
                    const [bz, by, bx] = transposed ? [OD, OH, OW] : [D, H, W];
                    if (
                      there[0] < 0 ||
                      there[1] < 0 ||
                      there[2] < 0 ||
                      there[0] >= bz ||
                      there[1] >= by ||
                      there[2] >= bx
                    )
                      continue;
                    const inner = transposed ? [z, y, v] : there;
                    const outer = transposed ? there : [z, y, v];
                    data[at(n, o, outer[0], outer[1], outer[2])] +=
                      w * x.data[(((n * I + c) * D + inner[0]) * H + inner[1]) * W + inner[2]];
                  }
            }
      }
  return { data, shape: [N, O, ...[OD, OH, OW].slice(3 - axes)] };
}
