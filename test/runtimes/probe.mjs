// What every host has to do: a training step of a small network, evaluation, backward, compiled
// inference. Numbers are made of integers, so that no host's logarithm or cosine takes part. Runs
// once with the best backend of the host, and once with the fixed build.

/** @param k the library @param infer its evenkeel/infer @returns what came out, as plain data */
export function probe(k, infer) {
  k.configure({ deterministic: false });
  const best = work(k, infer);
  k.configure({ deterministic: true });
  const fixed = work(k, infer);
  return { best, fixed };
}

function numbers(count, seed) {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 24 - 0.4;
  });
}

function work(k, infer) {
  const { backend, reason } = k.info();
  const out = [];
  const keep = (values) => out.push(...values);
  const net = new k.Sequential(
    new k.Linear(13, 19, { seed: 3 }),
    new k.BatchNorm1d(19, { activation: 'tanh' }),
    new k.Linear(19, 5, { seed: 4 }),
  );
  const optimizer = new k.SGD(net.parameters(), { lr: 0.25, momentum: 0.9 });
  const x = k.tensor(numbers(17 * 13, 7), [17, 13]);
  for (let step = 0; step < 3; step++) {
    const y = net.forward(x);
    keep(y.data);
    const { grad } = k.crossEntropy(
      y,
      Array.from({ length: 17 }, (_, i) => i % 5),
    );
    net.zeroGrad();
    const dx = net.backward(grad);
    keep(dx.data);
    optimizer.step();
    for (const held of [y, grad, dx]) held.dispose();
  }
  net.eval();
  keep(net.forward({ data: x.data.slice(), shape: [17, 13] }).data);
  const compiled = net.compile({ maxBatch: 17 });
  const loaded = infer.load(compiled.save());
  keep(loaded({ data: x.data.slice(), shape: [17, 13] }).data);
  const images = new k.BatchNorm2d(3, { activation: 'gelu', layout: 'channels-last' });
  const planes = { data: numbers(2 * 5 * 7 * 3, 11), shape: [2, 5, 7, 3] };
  keep(images.forward(planes).data);
  keep(images.backward({ data: numbers(210, 12), shape: [2, 5, 7, 3] }).data);
  keep(images.runningVar);
  for (const held of [net, compiled, loaded, images, x]) held.dispose();
  return { backend, reason, bits: hash(out), values: out.filter((_, i) => i % 41 === 0) };
}

/** FNV-1a of the bits. */
function hash(values) {
  const bytes = new Uint8Array(Float32Array.from(values).buffer);
  let h = 0x811c9dc5;
  for (const byte of bytes) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  return h.toString(16);
}
