// What `evenkeel/models` has, before its kernels join (index.ts).

export type { Convnet, ModelOptions, NormFactory, NormPlace, ResidualOptions } from './convnet.ts';
export { type DigitConvnetOptions, digitConvnet } from './digit-convnet.ts';
export { type MobileNetV2Options, mobilenetV2 } from './mobilenet-v2.ts';
export { digitResnet, type ResNetOptions, resnet } from './resnet.ts';
