export function wholeModules(folder?: string): { label: string; simd: Buffer; relaxed: Buffer };
