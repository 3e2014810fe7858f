// How kernels that take whole images are given them: no tables, and no zeros around.

/** Depthwise windows on images with channels innermost, in calls of depthwise_rows_nxc. */
export interface RowSizes {
  readonly samples: number;
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly cols: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly strideHeight: number;
  readonly strideWidth: number;
  readonly top: number;
  readonly left: number;
}

/** Windows of 3 × 3 on images with channels innermost, in calls of winograd_nxc. */
export interface WindowSizes {
  readonly samples: number;
  readonly height: number;
  readonly width: number;
  readonly depth: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly cols: number;
  /** Rows and columns of zeros before the image. */
  readonly top: number;
  readonly left: number;
  /** Columns of a part, and windows that are turned at a time. */
  readonly share: number;
  readonly block: number;
}

/** Values in which a part of a call works. */
export const windowsLength = ({ block, depth }: Pick<WindowSizes, 'block' | 'depth'>) =>
  16 * block * (depth + 8) + 128 * depth + 512;

/** Values of windows, turned, that stay in L2 beside the weights of a panel. */
const TURNED = 120_000;
/** Parts of a call at the most: each turns all windows anew. */
const MOST_PARTS = 4;

/** The sizes of a call that depend on the others. */
export function windowBlocks({ samples, outHeight, outWidth, depth, cols }: Omit<WindowSizes, 'share' | 'block'>) {
  const tiles = Math.max(1, samples) * Math.ceil(outHeight / 2) * Math.ceil(outWidth / 2);
  const most = Math.max(16, TURNED / (16 * depth));
  return {
    share: Math.ceil(cols / (8 * MOST_PARTS)) * 8,
    // blocks of one size
    block: Math.ceil(tiles / Math.ceil(tiles / most) / 4) * 4,
  };
}

/** Values in which a call works, however many parts it is cut into. */
export const windowWork = (sizes: WindowSizes) => Math.ceil(sizes.cols / sizes.share) * windowsLength(sizes);
