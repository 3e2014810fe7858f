// The first answer of a library in a process of its own: from the files to the result, after the
// library's modules are there. The package is taken as it was built, as a program has it.
// Arguments: evenkeel or tfjs, the model, shapes of its inputs.

const [who, path, given] = process.argv.slice(2);
const x = (JSON.parse(given) as number[][]).map((shape) => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.abs(Math.sin(i))),
}));

async function evenkeel(): Promise<() => Promise<unknown>> {
  const { loadNetwork } = await import('evenkeel/weights');
  await import('evenkeel');
  return async () => {
    const network = await loadNetwork(path);
    const run = network.compile();
    return run(
      (x.length === 1 ? x[0] : Object.fromEntries(network.inputs.map(({ name }, i) => [name, x[i]]))) as never,
    );
  };
}

async function other(): Promise<() => Promise<unknown>> {
  const runtime = (await import('./tfjs.ts')).tfjs();
  return async () => {
    await runtime.use('wasm');
    return (await runtime.load(path)).run(x);
  };
}

const answer = await (who === 'tfjs' ? other() : evenkeel());
const start = performance.now();
await answer();
console.log(`first answer ${(performance.now() - start).toFixed(1)} ms`);

export {};
