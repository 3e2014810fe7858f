// Which backend runs, and why: what is asked for, what a host refuses, what a program hands over.

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const hasRelaxed = WebAssembly.validate(new Uint8Array(readFileSync(join(root, 'dist/wasm/relaxed.wasm'))));
const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });

/** What a program prints, with a backend asked for by the environment, or none. */
const program = (backend: string, code: string) =>
  execFileSync(process.execPath, ['--input-type=module', '-e', code], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, EVENKEEL_BACKEND: backend },
  }).trim();

test('works without WebAssembly, and says why', () => {
  const text = node(
    '--input-type=module',
    '-e',
    "delete globalThis.WebAssembly; const { BatchNorm1d, info } = await import('evenkeel'); new BatchNorm1d(2).forward({ data: Float32Array.of(1, 2, 3, 5), shape: [2, 2] }); console.log(JSON.stringify(info()))",
  );
  const { backend, reason } = JSON.parse(text);
  expect(backend).toBe('js');
  expect(reason).toMatch(/^the best this host has; relaxed: ReferenceError: .*; simd: ReferenceError: /);
});

describe('the choice of backend', () => {
  const choose = (env: string, code: string) =>
    program(env, `import { configure, info, zeros } from 'evenkeel'; ${code}`);

  test('is relaxed where the host validates it, else simd', () => {
    expect(choose('', 'console.log(info().backend)')).toBe(hasRelaxed ? 'relaxed' : 'simd');
  });

  test('is never relaxed when deterministic', () => {
    expect(
      choose(
        '',
        'configure({ deterministic: true }); const { backend, deterministic } = info(); console.log(backend, deterministic)',
      ),
    ).toBe('simd true');
  });

  test('can be asked for, by setting and by environment', () => {
    expect(choose('', "configure({ backend: 'js' }); console.log(info().backend, info().reason)")).toBe('js asked for');
    expect(choose('js', 'console.log(info().backend, info().reason)')).toBe('js asked for');
    expect(choose('js', "configure({ backend: 'simd' }); console.log(info().backend)")).toBe('simd');
    expect(choose('', "info(); configure({ backend: 'js' }); console.log(info().backend)")).toBe('js');
  });

  const complaint = (env: string, code: string) =>
    choose(env, `try { ${code} } catch (error) { console.log(error.name, error.code, error.message) }`);

  test('cannot change once memory is in use', () => {
    expect(complaint('', "zeros([3]); configure({ backend: 'js' });")).toBe(
      'Error ERR_MODE configure: another backend expected to be asked for before the first tensor, got 1 block of memory in use',
    );
  });

  test('an impossible choice is refused', () => {
    expect(complaint('', "configure({ backend: 'relaxed', deterministic: true });")).toBe(
      "RangeError ERR_OPTION configure: backend expected 'auto', 'simd' or 'js' when deterministic, got 'relaxed'",
    );
    expect(complaint('relaxed', 'configure({ deterministic: true }); info();')).toBe(
      "RangeError ERR_OPTION configure: backend expected 'auto', 'simd' or 'js' when deterministic, got 'relaxed'",
    );
    expect(complaint('gpu', 'info();')).toBe(
      "RangeError ERR_OPTION EVENKEEL_BACKEND: backend expected 'auto', 'relaxed', 'simd' or 'js', got 'gpu'",
    );
    if (!hasRelaxed)
      expect(complaint('relaxed', 'info();')).toMatch(
        /^RangeError ERR_BACKEND configure: backend expected one that this host has, got 'relaxed' \(relaxed: CompileError: .*\)$/,
      );
  });
});

describe('init', () => {
  /** What a program prints, line by line; `wasm(name)` reads one of the package's modules. */
  const lines = (code: string) =>
    program(
      '',
      `import { BatchNorm1d, configure, info, init, zeros } from 'evenkeel';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const wasm = (name) => readFileSync(createRequire(${JSON.stringify(join(root, 'package.json'))}).resolve('evenkeel/' + name));
const tried = async (settings) => { try { await init(settings); console.log('done'); } catch (error) { console.log(error.name, error.code, error.message); } };
const batch = () => new BatchNorm1d(2).forward({ data: Float32Array.of(1, 2, 3, 5), shape: [2, 2] }).data.join();
${code}`,
    ).split('\n');
  const first = 'configure({ deterministic: true }); ';
  const NOT_OURS =
    'TypeError ERR_TYPE init: module expected evenkeel/simd.wasm or evenkeel/relaxed.wasm of this release, compiled or as bytes, got';

  test('makes ready what the first call would, and may be called again', () => {
    const without = lines('console.log(info().backend, info().reason, batch())');
    expect(lines('await init(); await init(); console.log(info().backend, info().reason, batch())')).toEqual(without);
    expect(lines('await Promise.all([init(), init()]); console.log(info().backend, info().reason, batch())')).toEqual(
      without,
    );
  });

  test('takes what configure takes', () => {
    expect(lines("await init({ backend: 'js' }); console.log(info().backend, info().reason)")).toEqual([
      'js asked for',
    ]);
    expect(lines('await init({ deterministic: true }); console.log(info().backend)')).toEqual(['simd']);
    expect(lines("await tried({ backend: 'gpu' }); await tried(null); await tried({ threads: 2 })")).toEqual([
      "RangeError ERR_OPTION init: backend expected 'auto', 'relaxed', 'simd' or 'js', got 'gpu'",
      'TypeError ERR_OPTION init: options expected an object, got null',
      "TypeError ERR_OPTION init: options expected 'backend', 'deterministic' or 'module', got 'threads'",
    ]);
  });

  test('undefined settings are settings not given', () => {
    expect(
      lines(
        'configure({ backend: undefined, deterministic: undefined }); await init({ module: undefined }); console.log(batch().length > 0)',
      ),
    ).toEqual(['true']);
  });

  test('what is in force already may be asked for at any time', () => {
    expect(
      lines(`configure({ deterministic: true }); zeros([3]); configure({ deterministic: true }); configure({ backend: 'simd' });
await tried({ backend: 'simd', deterministic: true }); console.log(info().backend)`),
    ).toEqual(['done', 'simd']);
  });

  test('a backend that the host lacks is refused when it is asked for, and nothing changes', () => {
    const refused = `const { Module } = WebAssembly; WebAssembly.Module = new Proxy(Module, { construct() { throw new Error('refused'); } });
console.log(info().backend); await tried({ backend: 'simd' });
try { configure({ backend: 'relaxed' }); } catch (error) { console.log(error.code, error.message); }
console.log(info().backend, batch().length > 0);`;
    expect(lines(refused)).toEqual([
      'js',
      "RangeError ERR_BACKEND init: backend expected one that this host has, got 'simd' (simd: Error: refused)",
      "ERR_BACKEND configure: backend expected one that this host has, got 'relaxed' (relaxed: Error: refused)",
      'js true',
    ]);
  });

  test('calls that overlap take effect in their order', () => {
    expect(
      lines(`const slow = init({ module: wasm('simd.wasm') }); const fast = init({ backend: 'js' });
await Promise.all([slow, fast]); console.log(info().backend);`),
    ).toEqual(['js']);
  });

  test('threads end with the backend they ran on, and info says so', () => {
    expect(
      lines(`const { setThreads } = await import('evenkeel'); configure({ deterministic: true });
console.log(setThreads(2)); await tried({}); console.log(info().threads); await tried({ module: wasm('simd.wasm') });
console.log(info().threads, info().threading, batch().length > 0);`),
    ).toEqual(['2', 'done', '2', 'done', '1 the backend has changed since setThreads true']);
  });

  test('takes a module, compiled or as bytes, in place of its own', () => {
    const [expected] = lines(`${first}console.log(batch())`);
    const view = "new DataView(Uint8Array.from(wasm('simd.wasm')).buffer)";
    const shared =
      "(() => { const bytes = wasm('simd.wasm'); const view = new Uint8Array(new SharedArrayBuffer(bytes.length)); view.set(bytes); return view; })()";
    for (const module of [view, shared, "wasm('simd.wasm')", "new WebAssembly.Module(wasm('simd.wasm'))"])
      expect(
        lines(`await init({ module: ${module} }); console.log(info().backend, info().reason); console.log(batch())`),
      ).toEqual(['simd the module given to init', expected]);
  });

  test('compiles nothing of its own then', () => {
    expect(
      lines(`const module = await WebAssembly.compile(wasm('simd.wasm'));
const { Module } = WebAssembly;
WebAssembly.Module = new Proxy(Module, { construct() { throw new Error('refused'); } });
await init({ module });
console.log(info().backend, batch().length > 0);`),
    ).toEqual(['simd true']);
  });

  test('a wrong module is refused, and everything works as before', () => {
    const empty = 'Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)';
    const old = `Buffer.from(wasm('simd.wasm').toString('latin1').replace(/(?<=simd 0\\.1\\.0 )\\w{8}$/, '00000000'), 'latin1')`;
    const said = lines(
      `for (const module of [1, null, {}, Uint8Array.of(1, 2, 3), ${empty}, ${old}]) await tried({ module });
console.log(info().reason.split(';')[0], batch().length > 0);`,
    );
    expect(said.slice(0, 3)).toEqual([`${NOT_OURS} 1`, `${NOT_OURS} null`, `${NOT_OURS} Object`]);
    expect(said[3]).toMatch(
      /^TypeError ERR_TYPE init: .*, got bytes that this host does not compile: WebAssembly\.compile\(\): /,
    );
    expect(said[4]).toBe(`${NOT_OURS} another module`);
    expect(said[5]).toBe(`${NOT_OURS} one of another release: simd 0.1.0 00000000`);
    expect(said[6]).toBe('the best this host has true');
  });

  test('after the first use another module is refused, and nothing changes', () => {
    expect(
      lines(`const held = zeros([3]); await tried({ module: wasm('simd.wasm') }); await tried(); console.log(info().reason.split(';')[0]);
held.dispose(); await tried({ module: wasm('simd.wasm') }); console.log(info().reason);`),
    ).toEqual([
      'Error ERR_MODE init: another backend expected to be asked for before the first tensor, got 1 block of memory in use',
      'done',
      'the best this host has',
      'done',
      'the module given to init',
    ]);
  });

  test('a module of one build and a wish for another contradict each other', () => {
    expect(
      lines("await tried({ module: wasm('simd.wasm'), backend: 'relaxed' }); console.log(info().reason.split(';')[0])"),
    ).toEqual([
      "RangeError ERR_OPTION init: backend expected 'auto', 'simd' or 'js' with simd.wasm, got 'relaxed'",
      'the best this host has',
    ]);
  });

  test.runIf(hasRelaxed)('a relaxed module is not deterministic', () => {
    expect(lines("await tried({ module: wasm('relaxed.wasm'), deterministic: true })")).toEqual([
      "RangeError ERR_OPTION init: backend expected 'auto', 'simd' or 'js' when deterministic, got 'relaxed'",
    ]);
    expect(lines("await init({ module: wasm('relaxed.wasm') }); console.log(info().backend)")).toEqual(['relaxed']);
  });
});

describe('a host that refuses', () => {
  const told = (flags: string[], code: string) => {
    const use = `import { BatchNorm1d, info, init } from 'evenkeel'; ${code}
const y = new BatchNorm1d(2).forward({ data: Float32Array.of(1, 2, 3, 5), shape: [2, 2] });
console.log(JSON.stringify({ ...info(), y: [...y.data].map(Math.round) }));`;
    return JSON.parse(node(...flags, '--input-type=module', '-e', use));
  };

  test('to compile runs the plain loops, with and without init', () => {
    const refusal = `WebAssembly.Module = function () { throw new WebAssembly.CompileError('disallowed by embedder'); };
WebAssembly.compile = () => Promise.reject(new WebAssembly.CompileError('disallowed by embedder'));`;
    for (const code of [refusal, `${refusal} await init();`]) {
      const { backend, reason, y } = told([], code);
      expect(backend).toBe('js');
      expect(reason).toBe(
        'the best this host has; relaxed: CompileError: disallowed by embedder; simd: CompileError: disallowed by embedder',
      );
      expect(y).toEqual([-1, -1, 1, 1]);
    }
  });

  test('memory runs the plain loops, and says so', () => {
    const { backend, reason } = told(
      [],
      "WebAssembly.Memory = function () { throw new RangeError('could not allocate memory'); };",
    );
    expect(backend).toBe('js');
    expect(reason).toMatch(/simd: RangeError: could not allocate memory$/);
  });

  test('to know WebAssembly at all, as --jitless does', () => {
    const { backend, y } = told(['--jitless'], '');
    expect([backend, y]).toEqual(['js', [-1, -1, 1, 1]]);
  });

  test.runIf(process.platform === 'linux')(
    'address space, by ulimit: later engines do with less, Node 20 does not',
    () => {
      const code = "import { info } from 'evenkeel'; console.log(JSON.stringify(info()))";
      const command = `ulimit -v 4000000 && exec '${process.execPath}' --input-type=module -e "${code}"`;
      const { backend, reason } = JSON.parse(execFileSync('bash', ['-c', command], { cwd: root, encoding: 'utf8' }));
      if (process.versions.node.startsWith('20.')) expect(backend).toBe('js');
      if (backend === 'js') expect(reason).toMatch(/simd: RangeError: .*could not allocate memory/i);
    },
  );

  test('relaxed SIMD takes no memory for the attempt: one memory for each thread', () => {
    const code = `let count = 0; WebAssembly.Memory = new Proxy(WebAssembly.Memory, { construct(...args) { count++; return Reflect.construct(...args); } });
process.on('exit', () => console.error(count));`;
    const { backend } = told([], code);
    const memories = spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `${code} const { Linear, Sequential, info } = await import('evenkeel'); new Sequential(new Linear(2, 2)).forward({ data: new Float32Array(2), shape: [1, 2] });`,
      ],
      { cwd: root, encoding: 'utf8' },
    ).stderr.trim();
    expect([backend === 'js', memories]).toEqual([false, '1']);
  });
});

test('two copies of the library in one process: each has its own memory, tensors pass as plain arrays, layers are refused by name', () => {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  try {
    cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
    cpSync(join(root, 'package.json'), join(folder, 'package.json'));
    const code = `import * as a from 'evenkeel';
const b = await import(${JSON.stringify(join(folder, 'dist/index.js'))});
const x = a.tensor(Float32Array.of(1, 2, 3, 5), [2, 2]);
const y = new b.BatchNorm1d(2).forward(x);
console.log([...y.data].map(Math.round).join(), y instanceof b.Tensor, [...x.data].join(), a.info().memory > 0, b.info().memory > 0);
try { new a.Sequential(new b.Linear(2, 2)); } catch (error) { console.log(error.message); }`;
    expect(node('--input-type=module', '-e', code).trim().split('\n')).toEqual([
      '-1,-1,1,1 false 1,2,3,5 true true',
      'Sequential: a layer expected a Layer, got Linear(2, 2) of another copy of evenkeel',
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('names that bring kernels and names of evenkeel/js mix: parts that nobody brought run as plain loops', async () => {
  const code = `import { configure, info, tensor } from 'evenkeel';
import { BatchNorm1d, Linear, Sequential, SGD, crossEntropy } from 'evenkeel/js';
configure({ deterministic: true });
const net = new Sequential(new Linear(3, 4, { seed: 1 }), new BatchNorm1d(4), new Linear(4, 2, { seed: 2 }));
const x = tensor(Float32Array.from({ length: 15 }, (_, i) => Math.sin(i)), [5, 3]);
const sgd = new SGD(net.parameters(), { lr: 0.1 });
for (let i = 0; i < 3; i++) { const { grad } = crossEntropy(net.forward(x), [0, 1, 0, 1, 1]); net.zeroGrad(); net.backward(grad); sgd.step(); }
console.log(info().backend, JSON.stringify([...net.eval().compile()(x).data].map((v) => v.toFixed(4))));`;
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: root },
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    tsconfigRaw: {},
    write: false,
  });
  // in a file: an argument may not be as long
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  writeFileSync(join(folder, 'mixed.mjs'), outputFiles[0].text);
  const [mixed] = node(join(folder, 'mixed.mjs')).trim().split('\n');
  rmSync(folder, { recursive: true });
  const [whole] = node('--input-type=module', '-e', code.replace("'evenkeel/js'", "'evenkeel'")).trim().split('\n');
  expect(mixed).toBe(whole);
  expect(mixed).toMatch(/^simd /);
});
