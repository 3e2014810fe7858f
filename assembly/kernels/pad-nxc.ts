/**
 * pad_nxc — pixels with channels innermost and zeros around them, from either layout.
 *
 *   y[n, d + front, h + top, w + left, c·repeat + i] = x[n, c, d, h, w] or x[n, d, h, w, c]
 *   0 elsewhere
 *
 * layout    x [samples, cols, depth, height, width] f32 where first = 1, else [samples, depth,
 *           height, width, cols], cols the channels; y [samples, toDepth, toHeight, toWidth,
 *           cols·repeat] f32. With first = 1 and nothing around: a transposition
 * sizes     all ≥ 1, but front, top, left ≥ 0
 * alias     none
 * align     4 bytes required, 16 preferred
 * traffic   8 bytes per element
 */
export function pad_nxc_f32(
  x: usize, y: usize, first: u32, samples: u32, cols: u32, repeat: u32, depth: u32, height: u32, width: u32,
  toDepth: u32, toHeight: u32, toWidth: u32, front: u32, top: u32, left: u32,
): void {
  const pixel = ((<usize>cols) << 2) * repeat;
  const out = pixel * toWidth;
  const before = pixel * left;
  const inside = pixel * width;
  const plane = ((<usize>depth) * height * width) << 2;
  const row = first ? (<usize>width) << 2 : ((<usize>width) * cols) << 2;
  for (let n: u32 = 0; n < samples; n++) {
    for (let d: u32 = 0; d < toDepth; d++) {
      const inDepth = d >= front && d < front + depth;
      for (let h: u32 = 0; h < toHeight; h++, y += out) {
        if (!inDepth || h < top || h >= top + height) {
          memory.fill(y, 0, out);
          continue;
        }
        if (before) memory.fill(y, 0, before);
        const after = out - before - inside;
        if (after) memory.fill(y + before + inside, 0, after);
        const p = x + (<usize>((d - front) * height + (h - top))) * row;
        if (repeat > 1) spread(p, y + before, cols, width, repeat, first ? plane : 4, first ? 4 : (<usize>cols) << 2);
        else if (first) transpose(p, y + before, cols, width, plane);
        else memory.copy(y + before, p, row);
      }
    }
    x += plane * cols;
  }
}

/** Rows of a matrix that lie `stride` apart, as columns side by side. */
function transpose(x: usize, y: usize, rows: u32, cols: u32, stride: usize): void {
  const out = (<usize>rows) << 2;
  let r: u32 = 0;
  for (; r + 4 <= rows; r += 4, x += stride << 2, y += 16) {
    let p = x;
    let q = y;
    let c: u32 = 0;
    for (; c + 4 <= cols; c += 4, p += 16, q += out << 2) {
      const a = v128.load(p);
      const b = v128.load(p + stride);
      const e = v128.load(p + 2 * stride);
      const f = v128.load(p + 3 * stride);
      const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
      const ef = v128.shuffle<i32>(e, f, 0, 4, 1, 5);
      const AB = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
      const EF = v128.shuffle<i32>(e, f, 2, 6, 3, 7);
      v128.store(q, v128.shuffle<i64>(ab, ef, 0, 2));
      v128.store(q + out, v128.shuffle<i64>(ab, ef, 1, 3));
      v128.store(q + 2 * out, v128.shuffle<i64>(AB, EF, 0, 2));
      v128.store(q + 3 * out, v128.shuffle<i64>(AB, EF, 1, 3));
    }
    for (; c < cols; c++, p += 4, q += out) {
      store<f32>(q, load<f32>(p));
      store<f32>(q, load<f32>(p + stride), 4);
      store<f32>(q, load<f32>(p + 2 * stride), 8);
      store<f32>(q, load<f32>(p + 3 * stride), 12);
    }
  }
  for (; r < rows; r++, x += stride, y += 4) {
    let q = y;
    for (let c: u32 = 0; c < cols; c++, q += out) store<f32>(q, load<f32>(x + ((<usize>c) << 2)));
  }
}

/** Each channel several times, side by side. */
function spread(x: usize, y: usize, channels: u32, width: u32, repeat: u32, channelStride: usize, pixelStride: usize): void {
  for (let w: u32 = 0; w < width; w++, x += pixelStride) {
    let p = x;
    for (let c: u32 = 0; c < channels; c++, p += channelStride) {
      const v = load<f32>(p);
      for (let i: u32 = 0; i < repeat; i++, y += 4) store<f32>(y, v);
    }
  }
}
