// ZIP, as far as archives of arrays need it (APPNOTE.TXT 6.3): stored and deflated members, ZIP64
// sizes. What the central directory says counts; every claim in it is checked against the file
// before anything is allocated.

import { malformed } from '../errors.ts';
import { ByteReader, concat, quote } from './bytes.ts';

export interface ZipMember {
  readonly name: string;
  /** Where its bytes begin in the file. */
  readonly offset: number;
  /**
   * The member's bytes; inflated, they are checked against the size and checksum of the directory.
   */
  read(): Promise<Uint8Array>;
}

/** Bytes that a file may become for each of its own: weights do not shrink so far, bombs do. */
const MOST_EXPANSION = 8;
/** So many in any case, if deflate can do that at all: arrays of zeros. */
const HARMLESS = 32 << 20;
const MOST_DEFLATE = 1032;

/** The largest that so many bytes may become. */
export function mostInflated(bytes: number, expansion = MOST_EXPANSION, harmless = HARMLESS): number {
  return Math.max(bytes * expansion, Math.min(bytes * MOST_DEFLATE + 1024, harmless));
}

const MOST_MEMBERS = 1 << 16;

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;

/** Does a path stay in its folder? */
export function isInside(path: string): boolean {
  return !/(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:|\0/.test(path);
}

/** The members of an archive, in the order of its directory. Throws ERR_FORMAT. */
export function readZip(format: string, file: Uint8Array): ZipMember[] {
  const { entries, start, size } = directoryOf(format, file);
  const reader = new ByteReader(format, file.subarray(start, start + size), start);
  const members: ZipMember[] = [];
  const names = new Set<string>();
  const extents: [number, number][] = [];
  let total = 0;
  for (let i = 0; i < entries; i++) {
    const at = reader.offset;
    if (reader.u32('directory') !== ENTRY) throw malformed(format, 'directory', 'an entry', 'other bytes', at);
    reader.take(4, 'directory'); // versions
    const flags = reader.u16('directory');
    const method = reader.u16('directory');
    reader.take(4, 'directory'); // time
    const checksum = reader.u32('directory');
    const sizes = { packed: reader.u32('directory'), full: 0, local: 0 };
    sizes.full = reader.u32('directory');
    const nameLength = reader.u16('directory');
    const extraLength = reader.u16('directory');
    const commentLength = reader.u16('directory');
    reader.take(8, 'directory'); // disk, attributes
    sizes.local = reader.u32('directory');
    const name = new TextDecoder().decode(reader.take(nameLength, 'directory'));
    readZip64(format, reader.take(extraLength, 'directory'), sizes, at);
    reader.take(commentLength, 'directory');
    const label = `member ${quote(name)}`;
    if (!isInside(name)) {
      throw malformed(format, label, 'a name inside the archive', 'a path out of it', at);
    }
    if (names.has(name)) throw malformed(format, label, 'each name once', 'it again', at);
    if (flags & 1) throw malformed(format, label, 'no encryption', 'an encrypted member', at);
    if (method !== 0 && method !== 8) throw malformed(format, label, 'stored or deflated', `method ${method}`, at);
    names.add(name);
    const { offset, packed } = locate(format, file, label, sizes, start);
    extents.push([sizes.local, offset + sizes.packed]);
    if (method === 0 && sizes.packed !== sizes.full) {
      throw malformed(format, label, `${sizes.full} bytes`, `${sizes.packed}`, at);
    }
    total += sizes.full;
    if (sizes.full > sizes.packed * MOST_DEFLATE + 1024 || total > mostInflated(file.length)) {
      const most = mostInflated(file.length);
      throw malformed(format, label, `at most ${most} bytes with those before it`, `${total}`, at);
    }
    members.push({
      name,
      offset,
      read: async () => {
        const bytes = method === 0 ? packed : await inflate(format, label, packed, sizes.full, offset);
        if (crc32(bytes) !== checksum)
          throw malformed(format, label, 'the checksum of the directory', 'another', offset);
        return bytes;
      },
    });
  }
  if (reader.left) throw reader.error('directory', 'its end', `${reader.left} bytes more`);
  extents.sort((a, b) => a[0] - b[0]);
  for (let i = 1; i < extents.length; i++) {
    if (extents[i][0] < extents[i - 1][1]) {
      throw malformed(format, 'members', 'bytes of their own', 'members that overlap', extents[i][0]);
    }
  }
  return members;
}

/**
 * Where the directory lies: its end record stands at the very end, before a comment of at most 64
 * kB.
 */
function directoryOf(format: string, file: Uint8Array): { entries: number; start: number; size: number } {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = file.length - 22;
  const first = Math.max(0, at - 65535);
  while (at >= first && !(view.getUint32(at, true) === END && at + 22 + view.getUint16(at + 20, true) === file.length))
    at--;
  if (at < first) throw malformed(format, 'end of directory', 'a record', 'none', Math.max(0, file.length - 22));
  let entries = view.getUint16(at + 10, true);
  let size = view.getUint32(at + 12, true);
  let start = view.getUint32(at + 16, true);
  let end = at;
  if (at >= 20 && view.getUint32(at - 20, true) === LOCATOR64) {
    const reader = new ByteReader(format, file.subarray(at - 12, at), at - 12);
    const record = reader.u64('ZIP64 locator');
    if (record + 56 > at - 20 || view.getUint32(record, true) !== END64) {
      throw malformed(format, 'ZIP64 locator', 'the place of a record', `${record}`, at - 12);
    }
    const fields = new ByteReader(format, file.subarray(record + 32, record + 56), record + 32);
    entries = fields.u64('ZIP64 record');
    size = fields.u64('ZIP64 record');
    start = fields.u64('ZIP64 record');
    end = record;
  }
  if (start + size !== end || entries > MOST_MEMBERS || entries * 46 > size) {
    throw malformed(
      format,
      'end of directory',
      `${size} bytes before ${end} for at most ${MOST_MEMBERS} members`,
      `${entries} members at ${start}`,
      at,
    );
  }
  return { entries, start, size };
}

/** Sizes that did not fit in 32 bits stand in an extra field, in this order. */
function readZip64(
  format: string,
  extra: Uint8Array,
  sizes: { packed: number; full: number; local: number },
  at: number,
): void {
  const reader = new ByteReader(format, extra, at);
  while (reader.left >= 4) {
    const id = reader.u16('extra field');
    const field = new ByteReader(format, reader.take(reader.u16('extra field'), 'extra field'), at);
    if (id !== 1) continue;
    for (const key of ['full', 'packed', 'local'] as const) {
      if (sizes[key] === 0xffffffff) sizes[key] = field.u64('ZIP64 field');
    }
  }
}

/** A member's bytes, behind a header of its own that repeats the directory. */
function locate(
  format: string,
  file: Uint8Array,
  label: string,
  { local, packed: length }: { local: number; packed: number },
  limit: number,
): { offset: number; packed: Uint8Array } {
  if (local > limit) throw malformed(format, label, `a place before ${limit}`, `${local}`, local);
  const reader = new ByteReader(format, file.subarray(local, limit), local);
  if (reader.u32(label) !== LOCAL) throw malformed(format, label, 'a local header', 'other bytes', local);
  reader.take(22, label);
  const name = reader.u16(label);
  const extra = reader.u16(label);
  reader.take(name + extra, label);
  const { offset } = reader;
  return { offset, packed: reader.take(length, label) };
}

/** Inflates into exactly `size` bytes, and stops as soon as there are more. */
async function inflate(
  format: string,
  label: string,
  packed: Uint8Array,
  size: number,
  offset: number,
): Promise<Uint8Array> {
  const stream = new Blob([packed as BlobPart]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  const reader = stream.getReader();
  const bytes = new Uint8Array(size); // which is no larger than the file may become
  let at = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > size) throw malformed(format, label, `${size} bytes`, 'more', offset);
      bytes.set(value, at);
      at += value.length;
    }
  } catch (error) {
    await reader.cancel().catch(() => {});
    if ((error as { code?: string }).code === 'ERR_FORMAT') throw error;
    throw malformed(format, label, 'deflated bytes', `${(error as Error).message}`, offset);
  }
  if (at < size) throw malformed(format, label, `${size} bytes`, `${at}`, offset);
  return bytes;
}

/** Writes an archive of stored members. */
export function writeZip(members: readonly (readonly [name: string, bytes: Uint8Array])[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [name, bytes] of members) {
    const encoded = new TextEncoder().encode(name);
    const checksum = crc32(bytes);
    const common = [20, 0x800, 0, 0, 33, checksum, bytes.length, bytes.length, encoded.length, 0];
    const widths = [2, 2, 2, 2, 2, 4, 4, 4, 2, 2];
    const header = fields([LOCAL, ...common], [4, ...widths]);
    parts.push(header, encoded, bytes);
    directory.push(fields([ENTRY, 20, ...common, 0, 0, 0, 0, at], [4, 2, ...widths, 2, 2, 2, 4, 4]), encoded);
    at += header.length + encoded.length + bytes.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const count = members.length;
  return concat([...parts, ...directory, fields([END, 0, 0, count, count, size, at, 0], [4, 2, 2, 2, 2, 4, 4, 2])]);
}

function fields(values: readonly number[], widths: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(widths.reduce((sum, width) => sum + width, 0));
  let at = 0;
  values.forEach((value, i) => {
    for (let k = 0; k < widths[i]; k++) bytes[at++] = (value / 2 ** (8 * k)) & 255;
  });
  return bytes;
}

const TABLE = /* @__PURE__ */ Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

function crc32(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) value = TABLE[(value ^ bytes[i]) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
