import packed from '../generated/training.ts';
import { packedSource } from '../packed.ts';

export const { compile, bytesOf } = packedSource(packed);
