// The options of `npm run bench`.

import { readArguments } from '../scripts/arguments.ts';

export const HELP = `npm run bench -- [OPTIONS]

  --filter TEXT      cases by name, as --list prints them or as the README writes them:
                     'eval | ncx', '1×1024', 'group norm, 32×256×28×28; channels last'
  --list             prints the names of the cases, or of those that --filter takes
                     (ncx: channels first, nxc: channels last)
  --json FILE        writes all times, with the commit, the machine and its caches, and the
                     program that was measured
  --csv [FILE]       the table as comma-separated values, to FILE or instead of the table
  --time MS          milliseconds for each of ours, plain loops and copy, in each process (120)
  --processes N      measures in N processes, one after the other
                     (1; with --json or --baseline 5)
  --threads N        measures on N threads, beside one (1)
  --baseline FILE    compares with a run that --json wrote, and says what is beyond noise: the
                     program in FILE runs again, in turns with this one (with --threads or
                     --results the times of then are compared)
  --results FILE     takes the figures of that run, instead of measuring
  --own FILE         times a function of yours beside ours: docs/performance.md
  --loops            the bare loops of docs/performance.md, instead of cases; takes
                     --filter, --list and --time
  --slower PERCENT   makes ours slower on purpose, to see what --baseline says
  --help             prints this

Without --filter, --own and --threads the run also writes bench/report.html.`;

/** The command line, read and checked; what is wrong ends the program with exit code 2. */
export function readOptions() {
  const args = process.argv.slice(2);
  // --csv may be followed by a file
  const at = args.indexOf('--csv');
  const file = at >= 0 && args[at + 1] !== undefined && !args[at + 1].startsWith('-') ? args[at + 1] : undefined;
  if (file !== undefined) args.splice(at + 1, 1);
  const values = readArguments({
    args,
    options: {
      help: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      filter: { type: 'string', default: '' },
      json: { type: 'string' },
      csv: { type: 'boolean', default: false },
      time: { type: 'string', default: '120' },
      processes: { type: 'string' },
      threads: { type: 'string', default: '1' },
      baseline: { type: 'string' },
      results: { type: 'string' },
      own: { type: 'string' },
      loops: { type: 'boolean', default: false },
      slower: { type: 'string', default: '0' },
    },
  });
  if (values.help) {
    console.log(HELP);
    process.exit(0);
  }
  const unused = args.find((arg) => /^--(json|csv|processes|threads|baseline|results|own|slower)\b/.test(arg));
  if (values.loops && unused) refuse('--loops', 'no other options than --filter, --list and --time', unused);
  const isKept = values.json !== undefined || values.baseline !== undefined;
  return {
    ...values,
    csvFile: file,
    processes: whole('--processes', values.processes ?? (isKept ? '5' : '1'), 100),
    threads: whole('--threads', values.threads, 64),
    time: milliseconds(values.time),
    slower: number('--slower', values.slower, 'a percentage from 0 to 1000', (part) => part >= 0 && part <= 1000),
  };
}

/** The command line of `npm run bench:peers`. */
export function readPeerOptions() {
  const values = readArguments({
    options: {
      filter: { type: 'string', default: '' },
      list: { type: 'boolean', default: false },
      time: { type: 'string', default: '150' },
    },
  });
  return { ...values, time: milliseconds(values.time) };
}

export type Options = ReturnType<typeof readOptions>;

function number(option: string, text: string, expected: string, isRight: (value: number) => boolean): number {
  const value = Number(text);
  if (text.trim() === '' || !isRight(value)) refuse(option, expected, `'${text}'`);
  return value;
}

const milliseconds = (time: string): number =>
  number('--time', time, 'milliseconds, above 0 and at most 60000', (ms) => ms > 0 && ms <= 60_000);

function whole(option: string, text: string, most: number): number {
  return number(
    option,
    text,
    `an integer from 1 to ${most}`,
    (value) => Number.isInteger(value) && value >= 1 && value <= most,
  );
}

export function refuse(option: string, expected: string, got: string): never {
  console.error(`${option} expected ${expected}, got ${got}`);
  process.exit(2);
}
