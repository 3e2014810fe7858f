// ONNX's own tests of operators (Debian's libonnx-testdata): a model of one node, inputs, and the
// outputs it should have.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { type OnnxModel, readOnnx } from '../../src/weights/index.ts';
import { converters } from '../../src/weights/network/onnx-network.ts';
import { readTensor } from './onnx-tensors.ts';

export const FOLDER = '/usr/share/libonnx-testdata/data/node/';

export interface Given {
  readonly data: Float32Array | Float64Array;
  readonly shape: readonly number[];
  readonly dtype: string;
}

export interface NodeTest {
  readonly name: string;
  readonly model: Uint8Array;
  readonly parsed: OnnxModel;
  readonly inputs: Readonly<Record<string, Given>>;
  readonly outputs: Readonly<Record<string, Given>>;
}

export const hasNodeTests = () => existsSync(FOLDER);

/** Why a test is not run, by what it is about. */
function reasonOf(name: string, model: OnnxModel): string | undefined {
  const nodes = model.nodes.map((node) => (node.domain === '' ? node.op : `${node.domain}.${node.op}`));
  const missing = [...new Set(nodes.filter((op) => !Object.hasOwn(converters(), op)))];
  if (missing.length) return `operator ${missing.join(', ')}`;
  if (model.opset < 7) return 'opset below 7';
  const types = [...model.inputs.keys(), ...model.outputs].map((value) => model.types.get(value) ?? 'F32');
  const strange = types.find((type) => !['F32', 'I64', 'I32', 'BOOL', 'U8'].includes(type));
  if (strange) return `type ${strange}`;
  if (/training_(?:mode|dropout)|_mask/.test(name)) return 'training mode, or a mask';
  if (/^test_constant(?:ofshape|$)|^test_range|window/.test(name)) return 'a network without an input at run time';
  return undefined;
}

/** The tests that there are, and why those that are not run are not. */
export function nodeTests(): { tests: NodeTest[]; skipped: Map<string, string> } {
  const tests: NodeTest[] = [];
  const skipped = new Map<string, string>();
  for (const name of readdirSync(FOLDER).sort()) {
    const model = new Uint8Array(readFileSync(`${FOLDER}${name}/model.onnx`));
    let parsed: OnnxModel;
    try {
      parsed = readOnnx(model);
    } catch (error) {
      skipped.set(name, (error as Error).message);
      continue;
    }
    const reason = reasonOf(name, parsed);
    if (reason) {
      skipped.set(name, reason);
      continue;
    }
    const folder = `${FOLDER}${name}/test_data_set_0/`;
    const read = (kind: string, names: readonly string[]) => {
      const found: Record<string, Given> = {};
      names.forEach((value, i) => {
        const path = `${folder}${kind}_${i}.pb`;
        if (existsSync(path)) found[value] = readTensor(new Uint8Array(readFileSync(path)));
      });
      return found;
    };
    tests.push({
      name,
      model,
      parsed,
      inputs: read('input', [...parsed.inputs.keys()]),
      outputs: read('output', parsed.outputs),
    });
  }
  return { tests, skipped };
}
