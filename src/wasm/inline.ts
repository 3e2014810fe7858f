// The source everywhere else: inside the JavaScript.

import inferenceText from './generated/inference.ts';
import linearText from './generated/linear.ts';
import maskedText from './generated/masked.ts';
import rowsText from './generated/rows.ts';
import trainingText from './generated/training.ts';
import { packedSource } from './packed.ts';

export const inference = /* @__PURE__ */ packedSource(inferenceText);
export const linear = /* @__PURE__ */ packedSource(linearText);
export const masked = /* @__PURE__ */ packedSource(maskedText);
export const rows = /* @__PURE__ */ packedSource(rowsText);
export const training = /* @__PURE__ */ packedSource(trainingText);
