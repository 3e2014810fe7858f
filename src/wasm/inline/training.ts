import packed from '../generated/training.ts';
import { packedSource } from '../packed.ts';

export default /* @__PURE__ */ packedSource(packed);
