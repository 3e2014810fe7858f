// The other formats: safetensors and compiled networks, NPY, ZIP archives, TF.js models.

import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { Dice } from '../dice.ts';
import { mutate } from '../mutate.ts';
import { NUMBERS, type Structure } from './format.ts';
import { changeJson, writeJson } from './json.ts';

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (value: string) => new TextEncoder().encode(value);

function joined(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const littleEndian = (value: bigint, width: number) =>
  Uint8Array.from({ length: width }, (_, k) => Number((BigInt.asUintN(64, value) >> BigInt(8 * k)) & 255n));

interface Headed {
  // biome-ignore lint/suspicious/noExplicitAny: JSON
  header: any;
  data: Uint8Array;
  /** How the header is written. */
  seed: number;
  claimed?: bigint;
}

/** safetensors, and with them compiled networks. */
export function safetensorsStructure(bytes: Uint8Array): Structure<Headed> {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(text(bytes.subarray(8, 8 + length)));
  const data = bytes.subarray(8 + length);
  return {
    parts: () => ({ header: structuredClone(header), data, seed: 3 }),
    change(parts, dice, large) {
      switch (dice.below(8)) {
        case 0:
          parts.data = dice.oneIn(2)
            ? data.subarray(0, dice.below(data.length + 1))
            : joined(data, new Uint8Array(dice.between(1, 64)));
          break;
        case 1:
          parts.seed = dice.seed();
          break;
        case 2:
          if (dice.oneIn(3)) parts.claimed = dice.of(NUMBERS);
          else moveOffsets(parts, dice);
          break;
        default:
          changeJson(parts.header, dice, large);
      }
    },
    encode({ header: tree, data: values, seed, claimed }) {
      const head = bytesOf(writeJson(tree, new Dice(seed)));
      return joined(littleEndian(claimed ?? BigInt(head.length), 8), head, values);
    },
  };
}

/** Two tensors change places, or one is given another's. */
function moveOffsets({ header }: Headed, dice: Dice): void {
  const entries = Object.values(header ?? {}).filter((entry) =>
    Array.isArray((entry as { data_offsets?: unknown })?.data_offsets),
  );
  if (entries.length < 2) return;
  const [a, b] = [dice.of(entries), dice.of(entries)] as { data_offsets: unknown; shape?: unknown }[];
  if (dice.oneIn(2)) [a.data_offsets, b.data_offsets] = [b.data_offsets, a.data_offsets];
  else Object.assign(a, { data_offsets: b.data_offsets, shape: b.shape });
}

interface Npy {
  version: number;
  header: string;
  data: Uint8Array;
  claimed?: bigint;
}

const WORDS = [
  "'descr'",
  "'<f4'",
  "'>f8'",
  "'|O'",
  "'fortran_order'",
  'True',
  'False',
  "'shape'",
  '(',
  ')',
  ',',
  '{',
  '}',
  ': ',
  '1',
  '-1',
  '0',
  '999999999999',
  '1e9',
  "'",
  ' ',
];

export function npyStructure(bytes: Uint8Array): Structure<Npy> {
  const wide = bytes[6] > 1;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const from = wide ? 12 : 10;
  const header = text(bytes.subarray(from, from + length));
  const data = bytes.subarray(from + length);
  return {
    parts: () => ({ version: bytes[6], header, data }),
    change(parts, dice, large) {
      switch (dice.below(7)) {
        case 0:
          parts.version = dice.between(0, 5);
          break;
        case 1:
          parts.claimed = dice.of(NUMBERS);
          break;
        case 2:
          parts.data = dice.oneIn(2)
            ? data.subarray(0, dice.below(data.length + 1))
            : joined(data, new Uint8Array(dice.between(1, 64)));
          break;
        case 3: {
          const axes = Array.from({ length: dice.of([0, 1, 3, 33, large ? 8000 : 100]) }, () =>
            dice.of(['1', '1', '1', '2', '0']),
          );
          parts.header = parts.header.replace(/\([^)]*\)/, `(${axes.join(', ')}${axes.length === 1 ? ',' : ''})`);
          break;
        }
        default: {
          // one word for another
          const words = parts.header.split(/('[^']*'|[(){},:]|\w+)/);
          words[dice.below(words.length)] = dice.of(dice.oneIn(3) ? words : WORDS);
          parts.header = words.join('');
        }
      }
    },
    encode({ version, header: head, data: values, claimed }) {
      const encoded = bytesOf(head);
      const size = claimed ?? BigInt(encoded.length);
      const start = Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0);
      return joined(start, littleEndian(size, version > 1 ? 4 : 2), encoded, values);
    },
  };
}

/** A member of an archive, and what the directory says of it where that is not the truth. */
interface Member {
  name: string;
  bytes: Uint8Array;
  deflated: boolean;
  says: Partial<Record<'method' | 'flags' | 'checksum' | 'packed' | 'full' | 'at', bigint>>;
}

interface Archive {
  members: Member[];
  comment: Uint8Array;
  says: Partial<Record<'entries' | 'size' | 'start', bigint>>;
}

function membersOf(bytes: Uint8Array): Member[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let end = bytes.length - 22;
  while (view.getUint32(end, true) !== 0x06054b50) end--;
  const members: Member[] = [];
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const [method, packed] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true)];
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const local = view.getUint32(at + 42, true);
    const from = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const raw = bytes.subarray(from, from + packed);
    members.push({
      name: text(bytes.subarray(at + 46, at + 46 + nameLength)),
      bytes: method === 8 ? Uint8Array.from(inflateRawSync(raw)) : raw,
      deflated: method === 8,
      says: {},
    });
    at += 46 + nameLength + extra + comment;
  }
  return members;
}

/** @param inside how a member's own bytes are changed */
export function zipStructure(
  bytes: Uint8Array,
  inside: (member: string, bytes: Uint8Array, dice: Dice, large: boolean) => Uint8Array,
): Structure<Archive> {
  const members = membersOf(bytes);
  return {
    parts: () => ({
      members: members.map((member) => ({ ...member, says: {} })),
      comment: new Uint8Array(0),
      says: {},
    }),
    change(archive, dice, large) {
      const index = dice.below(archive.members.length || 1);
      const member = archive.members[index];
      if (!member) return;
      switch (dice.below(11)) {
        case 0:
          archive.members.splice(index, 1);
          break;
        case 1:
          archive.members.push({ ...member, name: dice.oneIn(2) ? member.name : `${member.name}x`, says: {} });
          break;
        case 2:
          member.name = dice.of([
            dice.of(archive.members).name,
            `../${member.name}`,
            `/${member.name}`,
            '',
            `${member.name}/`,
            'a\\b',
          ]);
          break;
        case 3:
          member.deflated = !member.deflated;
          break;
        case 4:
          member.says[dice.of(['method', 'flags', 'checksum', 'packed', 'full', 'at'] as const)] = dice.of(NUMBERS);
          break;
        case 5:
          archive.says[dice.of(['entries', 'size', 'start'] as const)] = dice.of(NUMBERS);
          break;
        case 6:
          archive.comment = new Uint8Array(dice.of([1, 22, 65535]));
          break;
        case 7:
          // what shrinks a thousand times
          member.bytes = joined(member.bytes, new Uint8Array(large ? 32 << 20 : 1 << dice.between(4, 20)));
          member.deflated = true;
          break;
        default:
          member.bytes = inside(member.name, member.bytes, dice, large);
      }
    },
    encode: encodeArchive,
  };
}

function encodeArchive({ members, comment, says }: Archive): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const member of members) {
    const name = bytesOf(member.name);
    const packed = member.deflated ? Uint8Array.from(deflateRawSync(member.bytes)) : member.bytes;
    const claim = (key: keyof Member['says'], truth: number, width: number) =>
      littleEndian(member.says[key] ?? BigInt(truth), width);
    const common = joined(
      littleEndian(20n, 2),
      claim('flags', 0, 2),
      claim('method', member.deflated ? 8 : 0, 2),
      littleEndian(0n, 4),
      claim('checksum', crc32(member.bytes), 4),
      claim('packed', packed.length, 4),
      claim('full', member.bytes.length, 4),
      littleEndian(BigInt(name.length), 2),
      littleEndian(0n, 2),
    );
    const local = joined(littleEndian(0x04034b50n, 4), common, name);
    directory.push(
      joined(littleEndian(0x02014b50n, 4), littleEndian(20n, 2), common, new Uint8Array(10), claim('at', at, 4), name),
    );
    parts.push(local, packed);
    at += local.length + packed.length;
  }
  const list = joined(...directory);
  const claim = (key: keyof Archive['says'], truth: number, width: number) =>
    littleEndian(says[key] ?? BigInt(truth), width);
  const end = joined(
    littleEndian(0x06054b50n, 4),
    new Uint8Array(4),
    claim('entries', members.length, 2),
    claim('entries', members.length, 2),
    claim('size', list.length, 4),
    claim('start', at, 4),
    littleEndian(BigInt(comment.length), 2),
    comment,
  );
  return joined(...parts, list, end);
}

interface Text {
  // biome-ignore lint/suspicious/noExplicitAny: JSON
  tree: any;
  seed: number;
}

/** A file that is JSON. */
export function jsonStructure(bytes: Uint8Array): Structure<Text> {
  const tree = JSON.parse(text(bytes));
  return {
    parts: () => ({ tree: structuredClone(tree), seed: 3 }),
    change(parts, dice, large) {
      if (dice.oneIn(8)) parts.seed = dice.seed();
      else changeJson(parts.tree, dice, large);
    },
    encode: ({ tree: changed, seed }) => bytesOf(writeJson(changed, new Dice(seed))),
  };
}

/** Changes a part of a file that has a structure of its own, so long as it still has. */
export function changedInside<T>(
  structureOf: (bytes: Uint8Array) => Structure<T>,
  bytes: Uint8Array,
  dice: Dice,
  large: boolean,
): Uint8Array {
  let structure: Structure<T>;
  try {
    structure = structureOf(bytes);
  } catch {
    return mutate(bytes, dice.seed());
  }
  const parts = structure.parts();
  structure.change(parts, dice, large);
  return structure.encode(parts);
}
