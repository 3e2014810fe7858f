/** Of pages with charts: dark and light, narrow and wide. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5b6875; --paper: #fbfaf7; --line: #d9d7cf; --a: #0b6e8f; --b: #c4511a; --c: #4d7a1f; --d: #7a4ba8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --soft: #a3a9af; --paper: #15191d; --line: #363c42; --a: #5bbad5; --b: #f0935c; --c: #9ccc65; --d: #c39be8; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 74rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin-bottom: .3rem; } h2 { font-size: 1.2rem; margin-top: 2.6rem; }
p { max-width: 46rem; } .soft { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; overflow: visible; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); } .tick { font-size: 12px; fill: var(--soft); } .label { font-size: 13px; fill: var(--ink); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .dashed { stroke-dasharray: 6 4; } .dotted { stroke-dasharray: 2 3; } .mixed { stroke-dasharray: 9 3 2 3; }
.line.a { stroke: var(--a); } .line.b { stroke: var(--b); } .line.c { stroke: var(--c); } .line.d { stroke: var(--d); } .band { opacity: .16; } .band.a { fill: var(--a); } .band.b { fill: var(--b); } .band.c { fill: var(--c); } .band.d { fill: var(--d); }
.legend { list-style: none; margin: .2rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .9rem; } .key { width: 30px; height: 10px; margin-right: .4rem; }
@media (max-width: 480px) { .tick { font-size: 20px; } .label { font-size: 21px; } .label[transform] { transform: rotate(-90deg) translateY(-17px); } }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); } td + td, th + th { text-align: right; }
`;
