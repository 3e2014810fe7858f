/**
 * pack_taps — one place of a convolution's window in the panels that conv_nxc reads.
 *
 *   packed[⌊o/8⌋·panelStride + k·8 + o mod 8] = w[k·depthStride + o·colStride],
 *   0 for columns beyond cols
 *
 * layout    w: element (k, o) at k·depthStride + o·colStride; panels `panelStride` values apart, of
 *           which 8·depth are written
 * sizes     depth, cols ≥ 1
 * alias     none
 * align     4 bytes
 */
export function pack_taps_f32(
  w: usize, packed: usize, depth: u32, cols: u32, depthStride: u32, colStride: u32, panelStride: u32,
): void {
  const step = (<usize>depthStride) << 2;
  const across = (<usize>colStride) << 2;
  for (let o: u32 = 0; o < cols; o += 8, packed += (<usize>panelStride) << 2, w += across << 3) {
    const width = min(8, cols - o);
    let p = w;
    let q = packed;
    for (let k: u32 = 0; k < depth; k++, p += step, q += 32) {
      if (across == 4 && width == 8) {
        v128.store(q, v128.load(p));
        v128.store(q, v128.load(p, 16), 16);
        continue;
      }
      let from = p;
      let j: u32 = 0;
      for (; j < width; j++, from += across) store<f32>(q + ((<usize>j) << 2), load<f32>(from));
      for (; j < 8; j++) store<f32>(q + ((<usize>j) << 2), 0);
    }
  }
}
