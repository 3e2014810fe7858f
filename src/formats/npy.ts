// NPY (numpy.lib.format): a magic, a version, a header that is a Python dict, and the values.

import { malformed, show, wrongValue } from '../errors.ts';
import { ByteReader, type Bytes, bytesFrom, concat, quote } from './bytes.ts';
import { decode, encode, naturalType, type StoredTensor } from './dtypes.ts';
import { recognize } from './recognize.ts';
import { gathered, stridesOf } from './strides.ts';

const FORMAT = 'NPY';
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
const LONGEST_HEADER = 1 << 14;

/** Types of NumPy, without the byte order. */
const DTYPES: Readonly<Record<string, { dtype: string; bytes: number }>> = {
  f8: { dtype: 'F64', bytes: 8 },
  f4: { dtype: 'F32', bytes: 4 },
  f2: { dtype: 'F16', bytes: 2 },
  i8: { dtype: 'I64', bytes: 8 },
  i4: { dtype: 'I32', bytes: 4 },
  i2: { dtype: 'I16', bytes: 2 },
  i1: { dtype: 'I8', bytes: 1 },
  u8: { dtype: 'U64', bytes: 8 },
  u4: { dtype: 'U32', bytes: 4 },
  u2: { dtype: 'U16', bytes: 2 },
  u1: { dtype: 'U8', bytes: 1 },
  b1: { dtype: 'BOOL', bytes: 1 },
};

/**
 * Reads an NPY file, versions 1 to 3: floats of 2, 4 and 8 bytes, integers, booleans, either byte
 * order, either order of axes. The result is row-major.
 *
 *     const { data, shape } = readNpy(await readFile('x.npy'));
 *
 * @param file bytes of the file
 * @throws ERR_FORMAT for anything else: which part, and at which offset
 */
export function readNpy(file: Bytes): StoredTensor {
  const bytes = bytesFrom(FORMAT, file);
  const known = recognize(bytes);
  if (known && known.kind !== 'NPY') throw malformed(FORMAT, 'file', 'an NPY file', known.text, 0);
  return readArray(FORMAT, '', bytes, 0);
}

/** The same inside another file, at `base`. */
export function readArray(format: string, name: string, file: Uint8Array, base: number): StoredTensor {
  const label = name ? `array ${quote(name)}: ` : '';
  const reader = new ByteReader(format, file, base);
  const magic = reader.take(6, `${label}magic`);
  if (!MAGIC.every((byte, i) => magic[i] === byte)) {
    throw malformed(format, `${label}magic`, '\\x93NUMPY', 'other bytes', base);
  }
  const major = reader.u8(`${label}version`);
  reader.u8(`${label}version`);
  if (major < 1 || major > 3) throw malformed(format, `${label}version`, '1, 2 or 3', `${major}`, base + 6);
  const length = major === 1 ? reader.u16(`${label}header length`) : reader.u32(`${label}header length`);
  if (length > LONGEST_HEADER) {
    throw malformed(format, `${label}header length`, `at most ${LONGEST_HEADER}`, `${length}`, base + 8);
  }
  const at = reader.offset;
  const text = new TextDecoder(major === 3 ? 'utf-8' : 'latin1').decode(reader.take(length, `${label}header`));
  const header = headerOf(text);
  if (!header) {
    throw malformed(format, `${label}header`, "{'descr': …, 'fortran_order': …, 'shape': …}", quote(text.trim()), at);
  }
  const { descr, fortran, shape } = header;
  const type = Object.hasOwn(DTYPES, descr.slice(1)) ? DTYPES[descr.slice(1)] : undefined;
  if (!type || !'<>|='.includes(descr[0])) {
    throw malformed(format, `${label}descr`, `a type among ${Object.keys(DTYPES).join(', ')}`, quote(descr), at);
  }
  let count = 1;
  for (const size of shape) {
    count *= size;
    if (!Number.isSafeInteger(count * type.bytes)) {
      throw malformed(format, `${label}shape`, 'fewer than 2^53 bytes', `[${shape.join(', ')}]`, at);
    }
  }
  const offset = reader.offset;
  const bytes = reader.take(count * type.bytes, `${label}values`);
  if (reader.left)
    throw malformed(format, `${label}values`, `${bytes.length} bytes`, `${reader.left} more`, reader.offset);
  return {
    dtype: type.dtype,
    shape,
    get data() {
      const ordered = descr[0] === '>' ? swapped(bytes, type.bytes) : bytes;
      const values = decode(format, name, type.dtype, ordered, offset);
      return fortran ? gathered(values, shape, stridesOf(shape, true)) : values;
    },
  };
}

/** The three entries of the header, whatever their order; undefined for anything else. */
function headerOf(text: string): { descr: string; fortran: boolean; shape: number[] } | undefined {
  const trimmed = text.trim();
  if (!trimmed.startsWith('{') || !trimmed.endsWith('}')) return undefined;
  const body = trimmed.slice(1, -1).replace(/\s+/g, ' ').trim();
  const entry =
    / ?'(\w{1,16})' ?: ?(?:'([^']{1,16})'|(True|False)|\(((?: ?\d{1,16}L? ?,)*(?: ?\d{1,16}L?)?) ?\)) ?(?:, ?|$)/y;
  const found = new Map<string, RegExpExecArray>();
  while (entry.lastIndex < body.length) {
    const match = entry.exec(body);
    if (!match || found.has(match[1]) || found.size === 3) return undefined;
    found.set(match[1], match);
  }
  const descr = found.get('descr')?.[2];
  const fortran = found.get('fortran_order')?.[3];
  const shape = found.get('shape')?.[4];
  if (descr === undefined || fortran === undefined || shape === undefined) return undefined;
  const sizes = shape.split(',').map((size) => size.trim().replace('L', ''));
  if (sizes.at(-1) === '') sizes.pop();
  return { descr, fortran: fortran === 'True', shape: sizes.map(Number) };
}

function swapped(bytes: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = bytes[i - (i % size) + size - 1 - (i % size)];
  return out;
}

/** An array to be written. */
export interface WritableArray {
  /** Values, row-major. */
  readonly data: ArrayLike<number>;
  /** Length of each axis, outermost first; their product is the number of values. */
  readonly shape: readonly number[];
  /**
   * The type in the file, in the words of safetensors: `'F32'`, `'I64'` … Default: F32 for a
   * Float32Array, F64 for other numbers.
   */
  readonly dtype?: string;
}

/**
 * Writes an NPY file of version 1, little-endian, row-major: what `numpy.save` writes.
 *
 *     const bytes = writeNpy({ data: Float32Array.of(1, 2), shape: [2] });
 *
 * @param array values, shape and type
 * @throws ERR_OPTION for a type that NumPy does not have; ERR_SHAPE where shape and values differ
 */
export function writeNpy({ data, shape, dtype = naturalType(data) }: WritableArray): Uint8Array<ArrayBuffer> {
  const descr = Object.keys(DTYPES).find((name) => DTYPES[name].dtype === dtype);
  if (!descr) {
    throw wrongValue(
      'ERR_OPTION',
      FORMAT,
      'dtype',
      Object.values(DTYPES)
        .map((type) => type.dtype)
        .join(', '),
      show(dtype),
    );
  }
  const count = shape.reduce((product, size) => product * size, 1);
  if (count !== data.length) {
    throw wrongValue('ERR_SHAPE', FORMAT, 'data', `${count} values for shape [${shape.join(', ')}]`, `${data.length}`);
  }
  const order = DTYPES[descr].bytes === 1 ? '|' : '<';
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${order}${descr}', 'fortran_order': False, 'shape': (${dims}), }`;
  // magic, version and length take 10 bytes; the values begin at a multiple of 64
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const header = new TextEncoder().encode(`${text.padEnd(length - 1)}\n`);
  return concat([Uint8Array.from([...MAGIC, 1, 0, length & 255, length >> 8]), header, encode(data, dtype)]);
}
