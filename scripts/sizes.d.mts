export const BUDGETS: readonly { name: string; code: string; budget: number }[];
export function measure(
  code: string,
): Promise<{ raw: number; gzip: number; text: string; parts: Record<string, number> }>;
