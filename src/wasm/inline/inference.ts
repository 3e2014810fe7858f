import packed from '../generated/inference.ts';
import { packedSource } from '../packed.ts';

export const { compile, bytesOf } = packedSource(packed);
