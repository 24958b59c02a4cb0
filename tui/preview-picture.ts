/** Pictures made small, by sharp; the package is optional. */
import { createRequire } from 'node:module';
import { messageOf } from '../shared/errors.ts';
import { LARGEST_PICTURE } from './previews.ts';

export interface Drawn {
  width: number;
  height: number;
  rgb: Buffer;
  /** Of the picture itself: `6000 × 4000 JPEG`. */
  size: string;
}

/**
 * @param turn degrees for a picture that does not say itself which side is up.
 * @throws Error with a sentence: not a picture that can be decoded, damaged, too large, or no sharp here.
 */
export async function drawn(content: Buffer, turn = 0): Promise<Drawn> {
  const sharp = library();
  const options = { limitInputPixels: MOST_PIXELS, failOn: 'error', sequentialRead: true } as const;
  try {
    const { width = 0, height = 0, format = '', orientation } = await sharp(content, options).metadata();
    const upright =
      orientation === undefined ? sharp(content, options).rotate(turn) : sharp(content, options).autoOrient();
    const { data, info } = await upright
      .resize({ ...LARGEST_PICTURE, fit: 'inside', withoutEnlargement: true })
      .flatten({ background: '#808080' })
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    const rgb = info.channels === 3 ? data : Buffer.from([...data].flatMap((grey) => [grey, grey, grey]));
    return { width: info.width, height: info.height, rgb, size: `${width} × ${height} ${format.toUpperCase()}` };
  } catch (error) {
    throw new Error(sentenceOf(messageOf(error)));
  }
}

// --- internal ---

/** The largest cameras have 150 megapixels. */
const MOST_PIXELS = 160e6;

type Sharp = typeof import('sharp')['default'];

let loaded: Sharp | undefined;

/** Prepared for content that nobody vouches for: a few formats of pixels, one at a time, nothing kept. `TANDEM_NO_SHARP=1` turns it off. */
function library(): Sharp {
  if (loaded) return loaded;
  if (process.env['TANDEM_NO_SHARP']) throw missing();
  try {
    loaded = createRequire(import.meta.url)('sharp') as Sharp;
  } catch {
    throw missing();
  }
  loaded.cache(false);
  loaded.concurrency(1);
  loaded.block({ operation: ['VipsForeignLoad'] });
  loaded.unblock({ operation: ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Tiff', 'Heif'].map((one) => `VipsForeignLoad${one}`) });
  return loaded;
}

function missing(): Error {
  return new Error('pictures need the package sharp: npm install sharp');
}

function sentenceOf(said: string): string {
  if (said.includes('pixel limit')) return `it has more than ${MOST_PIXELS / 1e6} megapixels`;
  if (said.includes('unsupported image format')) return 'its content is no picture that is known here';
  return `it cannot be decoded: ${said.split('\n')[0]}`;
}
