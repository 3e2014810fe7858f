/**
 * pixel_table — where pixels begin, for the tables that conv_nxc and its kin read.
 *
 *   table[((n·depth + d)·height + h)·width + w]
 *     = first + n·sampleStep + d·depthStep + h·rowStep + w·step
 *
 * layout    table [samples, depth, height, width] u32
 * sizes     samples, depth, height, width ≥ 1; first and steps ≥ 0, places below 2³²
 * alias     none
 * align     4 bytes
 * traffic   4 bytes per pixel
 */
export function pixel_table_f32(
  table: usize, samples: u32, depth: u32, height: u32, width: u32,
  first: u32, sampleStep: u32, depthStep: u32, rowStep: u32, step: u32,
): void {
  for (let n: u32 = 0; n < samples; n++) {
    for (let d: u32 = 0; d < depth; d++) {
      for (let h: u32 = 0; h < height; h++) {
        let at = first + n * sampleStep + d * depthStep + h * rowStep;
        for (let w: u32 = 0; w < width; w++, table += 4, at += step) store<u32>(table, at);
      }
    }
  }
}
