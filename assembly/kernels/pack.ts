/**
 * pack — a matrix in panels of 8 columns, as `linear` reads it.
 *
 *   packed[⌊o/8⌋·panelStride + k·8 + o mod 8] = w[k,o]          columns past the last are 0
 *
 * layout    w: element (k, o) lies at k·depthStride + o·colStride; panels
 *           `panelStride` values apart, of which 8·depth are written
 * sizes     cols ≥ 1; depth ≥ 0; one of the strides of w should be 1
 * alias     none
 * align     4 bytes required, 16 preferred
 * numerics  exact
 * traffic   8 bytes per element
 */
export function pack_f32(w: usize, packed: usize, depth: u32, cols: u32, depthStride: u32, colStride: u32, panelStride: u32): void {
  const down = (<usize>depthStride) << 2;
  const across = (<usize>colStride) << 2;
  for (let o: u32 = 0; o < cols; o += 8) {
    const from = w + (<usize>o) * across;
    if (cols - o < 8) edge(from, packed, depth, cols - o, down, across);
    else if (colStride == 1) copy(from, packed, depth, down);
    else if (depthStride == 1) transpose(from, packed, depth, across);
    else edge(from, packed, depth, 8, down, across);
    packed += (<usize>panelStride) << 2;
  }
}

/** A panel whose rows already lie together. */
function copy(w: usize, packed: usize, depth: u32, down: usize): void {
  for (let k: u32 = 0; k < depth; k++, w += down, packed += 32) {
    v128.store(packed, v128.load(w, 0), 0);
    v128.store(packed, v128.load(w, 16), 16);
  }
}

/** A panel whose columns lie together: 4 × 4 transpositions. */
function transpose(w: usize, packed: usize, depth: u32, across: usize): void {
  const whole = depth & ~3;
  for (let k: u32 = 0; k < whole; k += 4, w += 16, packed += 128) {
    transpose4(w, packed, across);
    transpose4(w + (across << 2), packed + 16, across);
  }
  edge(w, packed, depth - whole, 8, 4, across);
}

// @ts-ignore: decorator
@inline
function transpose4(w: usize, packed: usize, across: usize): void {
  const a = v128.load(w);
  const b = v128.load(w + across);
  const c = v128.load(w + (across << 1));
  const d = v128.load(w + (across << 1) + across);
  const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const cd1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(packed, v128.shuffle<i64>(ab0, cd0, 0, 2), 0);
  v128.store(packed, v128.shuffle<i64>(ab0, cd0, 1, 3), 32);
  v128.store(packed, v128.shuffle<i64>(ab1, cd1, 0, 2), 64);
  v128.store(packed, v128.shuffle<i64>(ab1, cd1, 1, 3), 96);
}

/** A panel of fewer than 8 columns, or with strides of any kind. */
function edge(w: usize, packed: usize, depth: u32, cols: u32, down: usize, across: usize): void {
  for (let k: u32 = 0; k < depth; k++, w += down) {
    for (let j: u32 = 0; j < 8; j++, packed += 4) store<f32>(packed, j < cols ? load<f32>(w + (<usize>j) * across) : 0);
  }
}
