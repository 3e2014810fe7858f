// A file that is one TensorProto.

import { OnnxTensor } from '../../src/formats/onnx-tensor.ts';
import { fieldsOf, lengthField } from '../../src/formats/protobuf.ts';
import type { Given } from './node-tests.ts';

export function readTensor(bytes: Uint8Array): Given {
  // as the field of a message, which is what the reader takes
  const [field] = fieldsOf('ONNX', 'tensor', lengthField(1, bytes));
  const { dtype, shape, data } = new OnnxTensor('tensor', field, () => undefined);
  return { dtype, shape, data };
}
