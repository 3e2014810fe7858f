// Compiled networks: safetensors whose metadata hold a program. Its steps, inputs and outputs are
// changed as what they are.

import { CHECKSUM_AT, checksumOf } from '../../../src/infer/file.ts';
import type { Dice } from '../dice.ts';
import { safetensorsStructure } from './files.ts';
import { anywhere, type Structure } from './format.ts';
import { changeJson } from './json.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON
type Json = any;

/** Steps of any kind, most of them without weights. */
const STEPS: readonly Json[] = [
  { kind: 'elementwise' },
  { kind: 'add', group: 'merging' },
  { kind: 'multiply', group: 'merging' },
  { kind: 'concat', group: 'merging', axis: -1 },
  { kind: 'concat', group: 'merging', axis: 0 },
  { kind: 'softmax', group: 'softmax', axis: -1, isLog: false },
  { kind: 'softmax', group: 'softmax', axis: 1, isLog: true },
  { kind: 'row-norm', group: 'norms', normalizedShape: [3], centred: true, eps: 0, gamma: null, beta: null },
  { kind: 'row-norm', group: 'norms', normalizedShape: [2, 3], centred: false, eps: 1e-5, gamma: null, beta: null },
  {
    kind: 'channel-norm',
    group: 'norms',
    channels: 3,
    groups: 1,
    over: 'sample',
    onSingleValue: 'skip-update',
    eps: 1e-5,
    layout: 'channels-last',
    ranks: [2, null],
    gamma: null,
    beta: null,
  },
  {
    kind: 'channel-norm',
    group: 'norms',
    channels: 2,
    groups: 2,
    over: 'batch',
    onSingleValue: 'throw',
    eps: 1e-5,
    layout: 'channels-first',
    ranks: [1, null],
    gamma: null,
    beta: null,
  },
];

const PORTS: readonly Json[] = [null, [], [null], [null, 3], [2, 3], [0, 3], [null, 3, 2, 2], [1], [null, null]];

/** A step whose inputs are any of so many values before it. */
function stepOf(dice: Dice, before: number, large: boolean): Json {
  const made = structuredClone(dice.of(STEPS));
  const isWide = made.kind === 'concat' || made.kind === 'add' || made.kind === 'multiply';
  const arity = made.kind === 'concat' ? dice.between(1, large ? 2000 : 4) : isWide ? 2 : dice.between(1, 2);
  made.inputs = Array.from({ length: made.kind === 'softmax' ? 1 : arity }, () => dice.below(before));
  made.activation = !isWide && made.kind !== 'softmax' && dice.oneIn(3) ? dice.of(['relu', 'gelu', 'sigmoid']) : null;
  return made;
}

function changeProgram(program: Json, dice: Dice, large: boolean): void {
  const part = dice.oneIn(4) && program.general ? program.general : program.flat;
  const { steps, outputs } = part ?? {};
  if (!Array.isArray(steps) || !Array.isArray(outputs)) {
    changeJson(program, dice, large);
    return;
  }
  const values = steps.length + (program.inputs?.length ?? 1);
  switch (dice.below(11)) {
    case 0: {
      const at = anywhere(dice, steps);
      const made = stepOf(dice, values - steps.length + at, large);
      if (dice.oneIn(2)) steps.splice(at, 0, made);
      else steps[at] = made;
      break;
    }
    case 1:
      steps.splice(dice.below(steps.length || 1), 1);
      break;
    case 2:
    case 3: {
      const step = dice.of(steps) as Json;
      if (Array.isArray(step?.inputs)) step.inputs[anywhere(dice, step.inputs)] = dice.between(0, values);
      break;
    }
    case 4: {
      outputs[anywhere(dice, outputs)] = dice.below(values + 1);
      if (dice.oneIn(2))
        program.outputs?.push?.({ name: dice.of(['x', '__proto__', 'again', '']), shape: dice.of(PORTS) });
      break;
    }
    case 5: {
      const ports = dice.oneIn(2) ? program.inputs : program.outputs;
      const port = Array.isArray(ports) && ports.length ? dice.of(ports) : undefined;
      if (typeof port === 'object' && port) port.shape = structuredClone(dice.of(PORTS));
      break;
    }
    case 6:
      // every value twice as large as the one before it
      for (let many = dice.of([2, 8, large ? 400 : 40]); many > 0; many--) {
        const last = steps.length + (program.inputs?.length ?? 1) - 1;
        steps.push({ kind: 'concat', axis: dice.of([0, -1]), inputs: [last, last], activation: null });
      }
      break;
    case 7: {
      const [a, b] = [dice.of(steps), dice.of(steps)] as Json[];
      if (dice.oneIn(2)) Object.assign(a ?? {}, { inputs: b?.inputs });
      else Object.assign(a ?? {}, structuredClone(b ?? {}), { inputs: a?.inputs });
      break;
    }
    case 8:
    case 9: {
      // another program: few steps on inputs of any shape
      const inputs = dice.between(1, 2);
      const many = dice.between(1, 4);
      Object.assign(program, {
        inputs: ['x', 'z'].slice(0, inputs).map((name) => ({ name, shape: structuredClone(dice.of(PORTS)) })),
        outputs: [{ name: 'y', shape: null }],
        flat: {
          outputs: [inputs + many - 1],
          steps: Array.from({ length: many }, (_, i) => stepOf(dice, inputs + i, large)),
        },
        general: null,
      });
      break;
    }
    default:
      changeJson(program, dice, large);
  }
}

/** With the checksum that the file ought to have: a reader refuses all others at once. */
export function compiledStructure(
  bytes: Uint8Array,
): Structure<ReturnType<ReturnType<typeof safetensorsStructure>['parts']>> {
  const outer = safetensorsStructure(bytes);
  return {
    ...outer,
    change(parts, dice, large) {
      const metadata = parts.header?.__metadata__;
      if (typeof metadata?.program !== 'string' || dice.oneIn(4)) {
        outer.change(parts, dice, large);
        return;
      }
      let program: Json;
      try {
        program = JSON.parse(metadata.program);
      } catch {
        return;
      }
      if (typeof program === 'object' && program) changeProgram(program, dice, large);
      metadata.program = JSON.stringify(program);
    },
    encode(parts) {
      const file = outer.encode(parts);
      if (file.length > CHECKSUM_AT + 16) file.set(new TextEncoder().encode(checksumOf(file)), CHECKSUM_AT);
      return file;
    },
  };
}
