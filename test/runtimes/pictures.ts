// Pictures that `evenkeel run` decodes by `sharp`, an optional peer: a JPEG, a WebP, and a PNG that
// is not read here give what a plain PNG of their pixels gives.

import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Example, sh } from './host.ts';
import { app, packages, root, work } from './install.ts';

const folder = `${work}pictures/`;
const [WIDTH, HEIGHT] = [37, 23];
const network = `${root}test/fixtures/golden-conv/onnx/onnx_mobilenetv2_op15_bn_folded_dyn.onnx`;

/** The parts of sharp that make pictures. */
interface Picture {
  jpeg(options?: object): Picture;
  webp(options?: object): Picture;
  png(options?: object): Picture;
  greyscale(): Picture;
  rotate(degrees?: number): Picture;
  toColourspace(name: string): Picture;
  withMetadata(options: object): Picture;
  toBuffer(): Promise<Buffer>;
}
type Sharp = (data: Uint8Array, options?: object) => Picture;

/** What a command prints, or how it ended. */
async function evenkeel(...args: string[]): Promise<string> {
  return sh(process.execPath, ['node_modules/evenkeel/dist/cli/main.js', ...args], { cwd: folder });
}

async function outputOf(file: string): Promise<number[]> {
  const text = await evenkeel('run', network, '--input', file, '--json');
  return JSON.parse(text).outputs[0].data;
}

async function refused(file: string, expected: RegExp): Promise<void> {
  let said = '';
  try {
    await outputOf(file);
  } catch (error) {
    said = (error as Error).message;
  }
  if (!expected.test(said)) throw new Error(`${file}: expected ${expected}, got ${said.slice(-300)}`);
}

export const pictures: Example[] = [
  {
    name: 'evenkeel run, pictures by sharp',
    run: async () => {
      const from = await packages('sharp', 'sharp');
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      cpSync(`${app}node_modules`, `${folder}node_modules`, { recursive: true });
      const sharp: Sharp = createRequire(from)('sharp');
      const pixels = Uint8Array.from({ length: WIDTH * HEIGHT * 3 }, (_, i) => (i * 7 + (i % 3) * 60 + (i >> 5)) & 255);
      const raw = sharp(pixels, { raw: { width: WIDTH, height: HEIGHT, channels: 3 } });
      const jpeg = await raw.jpeg({ quality: 90 }).toBuffer();
      const grey = await sharp(jpeg).greyscale().jpeg().toBuffer();
      const turned = await sharp(jpeg).withMetadata({ orientation: 6 }).jpeg().toBuffer();
      const webp = await sharp(jpeg).webp({ lossless: true }).toBuffer();
      const laced = await sharp(jpeg).png({ progressive: true }).toBuffer();
      const printed = await sharp(jpeg).toColourspace('cmyk').jpeg().toBuffer();
      const plain = (data: Buffer) => sharp(data).rotate().toColourspace('srgb').png().toBuffer();
      const files: Record<string, [Buffer, Buffer]> = {
        'colour.jpg': [jpeg, await plain(jpeg)],
        'grey.jpg': [grey, await plain(grey)],
        'turned.jpg': [
          turned,
          await sharp(await sharp(turned).png().toBuffer())
            .rotate(90)
            .png()
            .toBuffer(),
        ],
        'printed.jpg': [printed, await plain(printed)],
        'lossless.webp': [webp, await plain(webp)],
        'interlaced.png': [laced, await plain(laced)],
      };
      for (const [name, [data, same]] of Object.entries(files)) {
        writeFileSync(`${folder}${name}`, data);
        writeFileSync(`${folder}${name}.png`, same);
      }
      writeFileSync(`${folder}broken.jpg`, jpeg.subarray(0, 200));
      await refused('colour.jpg', /colour\.jpg is a picture that is no PNG, which needs sharp: npm install sharp/);
      cpSync(`${from}node_modules`, `${folder}node_modules`, { recursive: true });
      for (const name of Object.keys(files)) {
        const [got, expected] = [await outputOf(name), await outputOf(`${name}.png`)];
        const isSame =
          got.length > 0 && got.length === expected.length && got.every((value, i) => value === expected[i]);
        if (!isSame) throw new Error(`${name}: not what its pixels give`);
      }
      await refused('broken.jpg', /broken\.jpg is no picture that sharp reads: /);
      return '';
    },
  },
];
