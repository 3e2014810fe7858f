// Protocol buffers as a tree, so far as ONNX says which fields are messages.

import type { Dice } from '../dice.ts';
import { anywhere, NUMBERS, type Structure, times } from './format.ts';

interface Field {
  number: number;
  wire: number;
  /** A number, bytes, or the fields of a message. */
  value: bigint | Uint8Array | Message;
  /** A length that is not the value's own. */
  claimed?: bigint;
  /** How often it comes, where that is more than once. */
  count?: number;
}

interface Message {
  readonly kind: string;
  fields: Field[];
}

/** Which fields of ONNX's messages are messages themselves, and of which kind. */
const MESSAGES: Record<string, Record<number, string>> = {
  Model: { 7: 'Graph', 8: 'Opset', 14: 'Entry' },
  Graph: { 1: 'Node', 5: 'Tensor', 11: 'ValueInfo', 12: 'ValueInfo', 13: 'ValueInfo' },
  Node: { 5: 'Attribute' },
  Attribute: { 5: 'Tensor', 6: 'Graph', 10: 'Tensor', 11: 'Graph' },
  ValueInfo: { 2: 'Type' },
  Type: { 1: 'TensorType' },
  TensorType: { 2: 'Shape' },
  Shape: { 1: 'Dimension' },
};

function parse(kind: string, bytes: Uint8Array): Message {
  const fields: Field[] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const [number, wire] = [tag >> 3, tag & 7];
    if (wire === 0) {
      fields.push({ number, wire, value: varint() });
      continue;
    }
    const length = wire === 1 ? 8 : wire === 5 ? 4 : Number(varint());
    const value = bytes.subarray(at, at + length);
    at += length;
    const inner = wire === 2 ? MESSAGES[kind]?.[number] : undefined;
    fields.push({ number, wire, value: inner ? parse(inner, value) : value });
  }
  return { kind, fields };
}

const isMessage = (value: Field['value']): value is Message => typeof value === 'object' && 'fields' in value;

function copyOf<T extends Field['value']>(value: T): T {
  if (!isMessage(value)) return value;
  return { kind: value.kind, fields: value.fields.map((field) => ({ ...field, value: copyOf(field.value) })) } as T;
}

/** Bytes of a growing length. */
class Output {
  #bytes = new Uint8Array(1024);
  length = 0;

  #room(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.length + more));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  varint(value: bigint): void {
    this.#room(10);
    let rest = BigInt.asUintN(64, value);
    for (; rest > 127n; rest >>= 7n) this.#bytes[this.length++] = Number(rest & 127n) | 128;
    this.#bytes[this.length++] = Number(rest);
  }

  put(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  get bytes(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}

function encode({ fields }: Message): Uint8Array {
  const out = new Output();
  for (const field of fields) {
    if (!field.count) {
      encodeField(out, field);
      continue;
    }
    const one = new Output();
    encodeField(one, field);
    const { bytes } = one;
    for (let i = 0; i < field.count; i++) out.put(bytes);
  }
  return out.bytes;
}

function encodeField(out: Output, { number, wire, value, claimed }: Field): void {
  out.varint(BigInt(number * 8 + wire));
  if (typeof value === 'bigint') {
    if (wire === 0) out.varint(value);
    else out.put(new Uint8Array(new BigUint64Array([BigInt.asUintN(64, value)]).buffer, 0, wire === 5 ? 4 : 8));
    return;
  }
  const bytes = isMessage(value) ? encode(value) : value;
  if (wire === 2) out.varint(claimed ?? BigInt(bytes.length));
  out.put(bytes);
}

/** Every message of a tree, itself first. */
function messagesIn(message: Message, found: Message[] = []): Message[] {
  found.push(message);
  for (const { value } of message.fields) if (isMessage(value)) messagesIn(value, found);
  return found;
}

const leavesOf = (messages: readonly Message[]) =>
  messages.flatMap(({ fields }) => fields.filter(({ value }) => !isMessage(value)));

/** Larger files are not tried, and are not to take memory either. */
const LARGEST = 16 << 20;

function change(model: Message, dice: Dice, large: boolean): void {
  changed(model, dice, large);
  if (sizeOf(model) <= LARGEST) return;
  for (const { fields } of messagesIn(model)) for (const field of fields) field.count = undefined;
}

function changed(model: Message, dice: Dice, large: boolean): void {
  const messages = messagesIn(model);
  // graphs and nodes are where things happen
  const notable = messages.filter(({ kind }) => kind === 'Graph' || kind === 'Node');
  const { fields } = dice.of(dice.oneIn(2) && notable.length ? notable : messages);
  const index = dice.below(fields.length || 1);
  const field = fields[index];
  if (!field) {
    fields.push({ number: dice.between(1, 15), wire: 0, value: dice.of(NUMBERS) });
    return;
  }
  const { value } = field;
  switch (large && dice.oneIn(2) ? 11 : dice.below(13)) {
    case 0:
      fields.splice(anywhere(dice, fields), 0, { ...field, value: copyOf(value) });
      break;
    case 1:
      fields.splice(index, 1);
      break;
    case 2:
      fields.splice(anywhere(dice, fields), 0, ...fields.splice(index, 1));
      break;
    case 3: {
      // a field from elsewhere
      const other = dice.of(messages).fields;
      if (other.length)
        fields.splice(anywhere(dice, fields), 0, { ...dice.of(other), value: copyOf(dice.of(other).value) });
      break;
    }
    case 4:
      field.number = dice.of([0, dice.between(1, 20), 2 ** 29 - 1]);
      break;
    case 5:
      field.wire = dice.of([0, 1, 2, 3, 4, 5, 6, 7]);
      if (typeof value === 'bigint' && field.wire === 2) field.value = new Uint8Array(8);
      break;
    case 6: {
      const numbers = leavesOf(messages).filter((leaf) => typeof leaf.value === 'bigint');
      if (numbers.length) dice.of(numbers).value = dice.oneIn(2) ? dice.of(NUMBERS) : BigInt(dice.below(24));
      break;
    }
    case 7:
    case 8: {
      // a name that something else has: graphs that go round, names that are shared
      const texts = leavesOf(messages).filter((leaf) => leaf.value instanceof Uint8Array && leaf.value.length < 40);
      if (texts.length) dice.of(texts).value = dice.of(texts).value;
      break;
    }
    case 9: {
      const nodes = messages.filter(({ kind }) => kind === 'Node');
      const graphs = messages.filter(({ kind }) => kind === 'Graph');
      if (!nodes.length || !graphs.length) break;
      let graph = copyOf(dice.of(graphs));
      for (let depth = dice.of([0, 3, large ? 800 : 20]); depth > 0; depth--) {
        const attribute: Message = { kind: 'Attribute', fields: [{ number: 6, wire: 2, value: graph }] };
        const node: Message = { kind: 'Node', fields: [{ number: 5, wire: 2, value: attribute }] };
        graph = { kind: 'Graph', fields: [{ number: 1, wire: 2, value: node }] };
      }
      dice.of(nodes).fields.push({
        number: 5,
        wire: 2,
        value: { kind: 'Attribute', fields: [{ number: 6, wire: 2, value: graph }] },
      });
      break;
    }
    case 10:
      if (typeof value !== 'bigint') field.claimed = dice.of(NUMBERS);
      break;
    case 11: {
      // many of something small cost most
      const least = large && dice.oneIn(2) ? { number: field.number, wire: field.wire, value: emptied(value) } : field;
      if (least !== field) fields.push(least);
      const size = sizeOf(least.value) + 2;
      least.count = large
        ? Math.floor((dice.of([1, 3, 8]) << 20) / size)
        : Math.min(times(dice, false), (64 << 10) / size);
      break;
    }
    default: {
      const bytes = leavesOf(messages).filter((leaf) => leaf.value instanceof Uint8Array);
      if (!bytes.length) break;
      const leaf = dice.of(bytes);
      const old = leaf.value as Uint8Array;
      leaf.value = dice.oneIn(2)
        ? old.subarray(0, dice.below(old.length + 1))
        : new Uint8Array(old.length + dice.of([1, 3, 4, 8, 1000]));
    }
  }
}

function emptied(value: Field['value']): Field['value'] {
  if (typeof value === 'bigint') return 0n;
  return isMessage(value) ? { kind: value.kind, fields: [] } : new Uint8Array(0);
}

function sizeOf(value: Field['value']): number {
  if (typeof value === 'bigint') return 2;
  return isMessage(value)
    ? value.fields.reduce((sum, field) => sum + (2 + sizeOf(field.value)) * (field.count ?? 1), 0)
    : value.length;
}

export function onnxStructure(bytes: Uint8Array): Structure<Message> {
  const model = parse('Model', bytes);
  return { parts: () => copyOf(model), change, encode };
}
