// Every message of the library is built here: `subject: argument expected X, got Y (context)`.

/**
 * What kind of mistake an error reports, in its `code`. The text of a message may change in any
 * version, a code only as a public name does.
 *
 * - `ERR_TYPE`: an argument of the wrong kind
 * - `ERR_SHAPE`: a rank, a channel count or a length that does not fit
 * - `ERR_OPTION`: an unknown option, or a value that it does not take
 * - `ERR_SINGLE_VALUE`: one value per channel in training
 * - `ERR_NON_FINITE`: NaN or Inf in a batch, where the policy is to throw
 * - `ERR_MASK`: a mask without a place that counts, or values and lengths it cannot have
 * - `ERR_MODE`: the wrong moment: backward before forward, freezing without running statistics
 * - `ERR_STATE`: a state dict that does not fit
 * - `ERR_LABEL`: a class index out of range
 * - `ERR_ALIAS`: memory that overlaps in a way that the kernel cannot take
 * - `ERR_DISPOSED`: a tensor after `dispose()`
 * - `ERR_MEMORY`: more memory than there is
 * - `ERR_BACKEND`: a backend that this host does not have
 * - `ERR_THREADS`: a worker thread that was lost
 * - `ERR_FORMAT`: a malformed file
 * - `ERR_FOLD`: a batch norm that cannot be folded without changing the result
 * - `ERR_BUSY`: more requests than a pool lets wait
 * - `ERR_TIMEOUT`: no answer within the time that was given
 * - `ERR_CLOSED`: a pool after `close()`
 * - `ERR_WORKER`: a worker that was lost with the request, and lost again with its second run
 * - `ERR_PART`: a part of a run that is missing, damaged, or of another run
 * - `ERR_SHARD`: a shard whose task failed
 * - `ERR_PEER`: an optional package that is missing, or there in another version
 * - `ERR_BROKER`: a broker that does not answer
 */
export type ErrorCode =
  | 'ERR_TYPE'
  | 'ERR_SHAPE'
  | 'ERR_OPTION'
  | 'ERR_SINGLE_VALUE'
  | 'ERR_NON_FINITE'
  | 'ERR_MASK'
  | 'ERR_MODE'
  | 'ERR_STATE'
  | 'ERR_LABEL'
  | 'ERR_ALIAS'
  | 'ERR_DISPOSED'
  | 'ERR_MEMORY'
  | 'ERR_BACKEND'
  | 'ERR_THREADS'
  | 'ERR_FORMAT'
  | 'ERR_FOLD'
  | 'ERR_BUSY'
  | 'ERR_TIMEOUT'
  | 'ERR_CLOSED'
  | 'ERR_WORKER'
  | 'ERR_PART'
  | 'ERR_SHARD'
  | 'ERR_PEER'
  | 'ERR_BROKER';

/**
 * What the library throws: a `TypeError` for the wrong kind of argument, a `RangeError` for a wrong
 * value, an `Error` at the wrong moment. Every message reads `subject: argument expected X, got Y
 * (context)`.
 */
export type EvenkeelError = Error & {
  /** The kind of mistake, for programs. */
  code: ErrorCode;
};

/**
 * What every message says: its subject (`BatchNorm(64)`), the argument (`x`, `backward`), what was
 * expected and what came, and where or why. In this order everywhere: names of properties would be
 * in every bundle, once for every message.
 */
type MessageParts = [
  code: ErrorCode,
  subject: string,
  argument: string,
  expected: string,
  got: string,
  context?: string,
];

function build(Kind: new (message: string) => Error, parts: MessageParts): EvenkeelError {
  const [code, subject, argument, expected, got, context] = parts;
  const message = `${subject}: ${argument} expected ${expected}, got ${got}${context ? ` (${context})` : ''}`;
  return Object.assign(new Kind(message), { code });
}

/** The wrong kind of argument. */
export function wrongKind(...parts: MessageParts): EvenkeelError {
  return build(TypeError, parts);
}

/** The right kind with a wrong value. */
export function wrongValue(...parts: MessageParts): EvenkeelError {
  return build(RangeError, parts);
}

/** The wrong moment. */
export function wrongMoment(...parts: MessageParts): EvenkeelError {
  return build(Error, parts);
}

/** A file that is not what it should be: which part, and where in it. */
export function malformed(format: string, part: string, expected: string, got: string, offset: number): EvenkeelError {
  // what a file says may hold anything: one line, and no control characters
  const clean = (text: string) => Array.from(text.slice(0, 400), (c) => (c < ' ' || c === '\u007f' ? '?' : c)).join('');
  return wrongValue('ERR_FORMAT', format, clean(part), clean(expected), clean(got), `offset ${offset}`);
}

/**
 * An error of a part with its place in the whole before it: `Sequential, layer 1: BatchNorm1d(4): x
 * expected …`; of a part in a part `Sequential, layer 2.0: …`. Anything but an error of this
 * library is left as it is.
 */
export function inPart(whole: string, part: number | string, error: unknown): unknown {
  const place = `${whole}, layer `;
  return reworded(error, (message) => {
    const inner = message.startsWith(place) ? `.${message.slice(place.length)}` : `: ${message}`;
    return `${place}${part}${inner}`;
  });
}

/** An error of an inner part, with the object that the user made as its subject. */
export function blaming(subject: string, error: unknown): unknown {
  return reworded(error, (message) => `${subject}${message.slice(message.indexOf(': '))}`);
}

/**
 * An error of a file's content with the file's name in what stands behind it: `(offset 3, loading
 * 'net.onnx')`. Anything else as it is, as are files without a name.
 */
export function inFile(name: string | undefined, error: unknown): unknown {
  if (name === undefined || (error as Partial<EvenkeelError> | null)?.code !== 'ERR_FORMAT') return error;
  const place = `loading ${show(name)})`;
  return reworded(error, (message) => {
    return message.endsWith(')') ? `${message.slice(0, -1)}, ${place}` : `${message} (${place}`;
  });
}

/** An error of this library with another message; anything else as it is. */
function reworded(error: unknown, change: (message: string) => string): unknown {
  const { code, message } = (error ?? {}) as Partial<EvenkeelError>;
  if (typeof code === 'string' && typeof message === 'string') (error as EvenkeelError).message = change(message);
  return error;
}

/** A value in a few words, for `got`. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value === 'function' || typeof value === 'symbol') return typeof value;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null) return `${value}`;
  if (isList(value)) {
    const values = Array.from(value);
    return `[${values.slice(0, 8).map(show).join(', ')}${values.length > 8 ? ', …' : ''}]`;
  }
  return kindOf(value);
}

/** Is it an array, a typed one or not? */
export function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && 'length' in value);
}

/** What an object calls itself: its class may have lost its name in a bundle. */
export function kindOf(value: object): string {
  return (value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? value.constructor?.name ?? 'object';
}

export function showShape(shape: readonly unknown[]): string {
  return `[${shape.map(show).join(', ')}]`;
}

/** `'a', 'b' or 'c'` */
export function showChoices(names: readonly string[]): string {
  const quoted = names.map((name) => `'${name}'`);
  return quoted.length < 2 ? quoted.join('') : `${quoted.slice(0, -1).join(', ')} or ${quoted[quoted.length - 1]}`;
}
