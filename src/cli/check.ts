// evenkeel check FILE

import { readOnnx } from '../formats/onnx.ts';
import { recognize } from '../formats/recognize.ts';
import { missingLayers } from '../weights/network/keras-network.ts';
import { missingOperators } from '../weights/network/onnx-network.ts';
import { dataBeside } from '../weights/onnx-data.ts';
import { formatOf } from '../weights/registry.ts';
import type { Report, Values } from './command.ts';
import { readFileWhole } from './files.ts';
import { needsOf, openNetwork, showPort } from './network.ts';

/** Does a network run here? Operators that are missing, weights, and what a run costs. */
export async function check([path]: string[], values: Values): Promise<Report> {
  const bytes = await readFileWhole(path, values.progress);
  const known = recognize(bytes);
  const isOnnx = known ? formatOf(known.kind) === 'ONNX' : !(bytes[0] === 0x50 && bytes[1] === 0x4b);
  const operators = new Map<string, number>();
  if (isOnnx) {
    const model = readOnnx(bytes, { files: await dataBeside(path, bytes) });
    for (const { op, domain } of model.nodes) {
      const name = domain ? `${domain}.${op}` : op;
      operators.set(name, (operators.get(name) ?? 0) + 1);
    }
    const missing = missingOperators(model);
    if (missing.length) {
      const list = missing.map(
        ({ op, count, first }) => `${op}: ${count} node${count === 1 ? '' : 's'}, the first '${first}'`,
      );
      return {
        lines: ['does not run: operators that there are not here', ...list.map((line) => `  ${line}`)],
        data: { file: path, runs: false, operators: Object.fromEntries(operators), missing },
        wrong: new Error(`${path} has operators that there are not here: ${missing.map(({ op }) => op).join(', ')}`),
      };
    }
  }
  const opened = await openNetwork(path).catch((error) => {
    const missing = missingLayers(error);
    if (!missing) throw error;
    return { missing, error };
  });
  if ('missing' in opened) {
    const list = opened.missing.map(({ what, count, first }) => {
      return `${what}: ${count} layer${count === 1 ? '' : 's'}, the first '${first}'`;
    });
    return {
      lines: ['does not run: layers that there are not here', ...list.map((line) => `  ${line}`)],
      data: { file: path, runs: false, operators: {}, missing: opened.missing },
      wrong: new Error(
        `${path} has layers that there are not here: ${opened.missing.map(({ what }) => what).join(', ')}`,
      ),
    };
  }
  const { run, report, loadMs, compileMs } = opened;
  let plan: ReturnType<typeof run.plan> | undefined;
  try {
    plan = run.plan();
  } catch (error) {
    if (!['ERR_OPTION', 'ERR_SHAPE'].includes((error as { code?: string }).code ?? '')) throw error;
  }
  const bytesOfWeights = plan?.reduce((sum, step) => sum + step.bytes, 0);
  const multiplyAdds = plan?.reduce((sum, step) => sum + step.multiplyAdds, 0);
  const used = [...operators].sort(([, a], [, b]) => b - a).map(([op, count]) => `${op} ${count}`);
  return {
    lines: [
      `runs: ${run.inputs.map(showPort).join(', ')} → ${run.outputs.map(showPort).join(', ')}`,
      ...(used.length ? [`operators: ${used.join(', ')}`] : []),
      `${run.steps.length} steps, loaded in ${loadMs.toFixed(0)} ms, compiled in ${compileMs.toFixed(0)} ms`,
      plan
        ? `${bytesOfWeights!.toLocaleString('en')} bytes of weights, ${multiplyAdds!.toLocaleString('en')} multiply-adds for a batch of one`
        : 'multiply-adds depend on lengths that are not fixed (evenkeel bench with --size or --input says them)',
      ...needsOf(run.operations),
      report.trainable ? 'can be trained' : `cannot be trained: ${report.reason}`,
      ...report.folded.map((what) => `read as one: ${what}`),
      ...report.unused.map((what) => `unused: ${what}`),
      ...report.assumed.map((what) => `assumed: ${what}`),
    ],
    data: {
      file: path,
      runs: true,
      operators: Object.fromEntries(operators),
      missing: [],
      inputs: run.inputs,
      outputs: run.outputs,
      steps: run.steps,
      operations: run.operations,
      bytes: bytesOfWeights ?? null,
      multiplyAdds: multiplyAdds ?? null,
      report,
    },
  };
}
