// Pictures as values: PNG is read here, other formats by `sharp`, where it is installed.

import { inflateSync } from 'node:zlib';
import { describeResize, type ResizeOperation } from '../graph/operations/resize.ts';

/** Rows of pixels, each of three values from 0 to 255. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: ArrayLike<number>;
}

const MOST_PIXELS = 2 ** 26;
const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** The parts of `sharp` that are used here. */
type Sharp = (
  bytes: Uint8Array,
  options: { limitInputPixels: number },
) => {
  rotate(): ReturnType<Sharp>;
  removeAlpha(): ReturnType<Sharp>;
  toColourspace(name: 'srgb'): ReturnType<Sharp>;
  raw(): ReturnType<Sharp>;
  toBuffer(options: { resolveWithObject: true }): Promise<{
    data: Uint8Array;
    info: { width: number; height: number; channels: number };
  }>;
};

/** Decodes a picture. Throws for one that nobody here can read, and says what would. */
export async function decodePicture(name: string, bytes: Uint8Array): Promise<Picture> {
  const isPng = PNG.every((byte, i) => bytes[i] === byte);
  const plain = isPng ? decodePng(name, bytes) : undefined;
  if (plain) return plain;
  let sharp: Sharp;
  try {
    // a name that bundlers and type checkers do not follow: it is an optional peer
    const module: string = 'sharp';
    sharp = (await import(module)).default;
  } catch {
    const what = isPng ? 'a PNG of another kind than 8 bits without interlacing' : 'a picture that is no PNG';
    throw new Error(`${name} is ${what}, which needs sharp: npm install sharp`);
  }
  const decoded = sharp(bytes, { limitInputPixels: MOST_PIXELS }).rotate().removeAlpha().toColourspace('srgb').raw();
  const { data, info } = await decoded.toBuffer({ resolveWithObject: true }).catch((error: Error) => {
    throw new Error(`${name} is no picture that sharp reads: ${error.message}`);
  });
  const { width, height, channels } = info;
  if (channels === 3) return { width, height, data };
  const grey = new Uint8Array(width * height * 3);
  for (let i = 0; i < grey.length; i++) grey[i] = data[Math.floor(i / 3) * channels];
  return { width, height, data: grey };
}

/** How many bytes a pixel has, by the colour type of a PNG. */
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/**
 * A PNG of 8 bits without interlacing (www.w3.org/TR/png-3); undefined for another one.
 * Transparency is left out.
 */
function decodePng(name: string, bytes: Uint8Array): Picture | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wrong = (what: string) => new Error(`${name} is no PNG: ${what}`);
  let [width, height, type] = [0, 0, 0];
  let palette: Uint8Array | undefined;
  const parts: Uint8Array[] = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length) throw wrong('a part beyond its end');
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === 'IHDR') {
      if (length < 13) throw wrong('a short header');
      [width, height, type] = [view.getUint32(at + 8), view.getUint32(at + 12), body[9]];
      if (body[8] !== 8 || body[12] !== 0 || !(type in CHANNELS)) return undefined;
      if (!(width > 0 && height > 0 && width * height <= MOST_PIXELS)) throw wrong(`${width} × ${height} pixels`);
    } else if (kind === 'PLTE') palette = body;
    else if (kind === 'IDAT') parts.push(body);
    else if (kind === 'IEND') break;
    at += 12 + length;
  }
  if (!width) throw wrong('no header');
  if (type === 3 && !palette) throw wrong('no palette');
  const channels = CHANNELS[type];
  const stride = width * channels;
  const size = height * (stride + 1);
  const lines = inflateSync(Buffer.concat(parts), { maxOutputLength: size + 1024 });
  if (lines.length < size) throw wrong('too few pixels');
  const data = new Uint8Array(width * height * 3);
  let above = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const filter = lines[y * (stride + 1)];
    const line = Uint8Array.from(lines.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1)));
    for (let i = 0; i < stride; i++) {
      const [a, b] = [i >= channels ? line[i - channels] : 0, above[i]];
      const c = i >= channels ? above[i - channels] : 0;
      line[i] += [0, a, b, (a + b) >> 1, paeth(a, b, c)][filter] ?? 0;
    }
    for (let x = 0; x < width; x++) {
      for (let k = 0; k < 3; k++) {
        const value = line[x * channels + (channels >= 3 ? k : 0)];
        data[(y * width + x) * 3 + k] = type === 3 ? (palette![value * 3 + k] ?? 0) : value;
      }
    }
    above = line;
  }
  return { width, height, data };
}

function paeth(a: number, b: number, c: number): number {
  const [p, q, r] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  return p <= q && p <= r ? a : q <= r ? b : c;
}

/**
 * The picture at another size: bilinear, over as many pixels as one of the smaller picture covers.
 */
export function resizePicture({ width, height, data }: Picture, toHeight: number, toWidth: number): Picture {
  if (width === toWidth && height === toHeight) return { width, height, data };
  const operation: ResizeOperation = {
    kind: 'resize',
    mode: 'linear',
    coordinates: 'half_pixel',
    nearest: 'floor',
    cubic: -0.75,
    excludes: false,
    antialias: true,
    outside: 0,
    by: 'sizes',
    numbers: [toHeight, toWidth, 3],
    region: null,
  };
  const value = Float64Array.from(data);
  const given = { shape: [height, width, 3], value, error: new Float64Array(value.length) };
  return { width: toWidth, height: toHeight, data: describeResize.analyse([given], operation, operation).value };
}
