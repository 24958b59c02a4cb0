/** Previews: pictures in cells, which file is decoded next, and the process that decodes, given files that mean no good. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { crc32, deflateSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encoderFor } from '../../shared/codec.ts';
import type { Suffix } from '../../shared/stored.ts';
import { Canvas } from '../../tui/canvas.ts';
import { drawPicture, fitInto, nearest, type Picture } from '../../tui/halfblocks.ts';
import { mediaOf } from '../../tui/preview-media.ts';
import { startDecoder } from '../../tui/preview-process.ts';
import { PreviewQueue, type QueueOptions } from '../../tui/preview-queue.ts';
import { previewOf } from '../../tui/preview-worker.ts';
import { noPreview, type Preview, type PreviewFile, previewKind } from '../../tui/previews.ts';
import { REPOSITORY } from '../helpers/cli.ts';

const test = suite('previews');

// --- pictures in cells ---

const solid = (width: number, height: number, ...rgb: number[]): Picture => {
  return { width, height, rgb: Uint8Array.from(Array.from({ length: width * height }, () => rgb).flat()) };
};

test('each colour becomes the one of the 256 that is nearest, never one of the sixteen of the user', () => {
  const cases: [rgb: [number, number, number], number: number][] = [
    [[0, 0, 0], 16],
    [[255, 255, 255], 231],
    [[255, 0, 0], 196],
    [[95, 135, 175], 67],
    [[128, 128, 128], 244],
    [[8, 8, 8], 232],
    [[238, 238, 238], 255],
    [[250, 250, 250], 231],
    [[114, 0, 0], 52],
    [[116, 0, 0], 88],
  ];
  for (const [rgb, number] of cases) assert.is(nearest(rgb), number, String(rgb));
  for (let red = 0; red < 256; red += 15)
    for (let green = 0; green < 256; green += 15)
      for (let blue = 0; blue < 256; blue += 15) {
        const number = nearest([red, green, blue]);
        assert.ok(number >= 16 && number <= 255);
      }
});

test('a picture keeps its proportions, is the mean of what it stands for, and is never enlarged', () => {
  const cases: [from: [number, number], room: [number, number], to: [number, number]][] = [
    [
      [160, 120],
      [40, 100],
      [40, 30],
    ],
    [
      [160, 120],
      [100, 30],
      [40, 30],
    ],
    [
      [10, 10],
      [40, 40],
      [10, 10],
    ],
    [
      [1000, 1],
      [10, 10],
      [10, 1],
    ],
    [
      [10, 10],
      [0, 10],
      [0, 0],
    ],
  ];
  for (const [[w, h], [width, height], to] of cases) {
    const fitted = fitInto(solid(w, h, 10, 20, 30), width, height);
    assert.equal([fitted.width, fitted.height], to);
    assert.ok([...fitted.rgb].every((value, index) => value === [10, 20, 30][index % 3]));
  }
  const halves = { width: 2, height: 1, rgb: Uint8Array.of(0, 0, 0, 200, 100, 50) };
  assert.equal([...fitInto(halves, 1, 1).rgb], [100, 50, 25]);
});

test('two pixels stand in a cell, in their own colours; with fewer colours a sign is as bright as they are', () => {
  const upDown = { width: 1, height: 3, rgb: Uint8Array.of(255, 0, 0, 0, 0, 255, 0, 255, 0) };
  const canvas = new Canvas(3, 2, { colours: 256, unicode: true });
  assert.is(drawPicture(canvas, upDown), 2);
  assert.equal(canvas.cell(1, 0).ink, { foreground: 196, background: 21 });
  assert.equal(canvas.cell(1, 1).ink, { foreground: 46, background: undefined });
  canvas.put(1, 0, 'x');
  assert.is(canvas.cell(1, 0).ink, undefined, 'what is written over it has its own look');
  for (const [colours, unicode, light, expected] of [
    ['mono', true, false, ' █'],
    [16, true, true, '█ '],
    [8, false, false, ' @'],
    [256, false, false, ' @'],
  ] as const) {
    const plain = new Canvas(2, 1, { colours, unicode, light });
    drawPicture(plain, { width: 2, height: 2, rgb: Uint8Array.from([0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255]) });
    assert.is(plain.lines()[0], expected);
    assert.is(plain.cell(1, 0).ink, undefined);
  }
});

test('the ending of a name says how it is looked at', () => {
  const cases = {
    'a.JPG': 'picture',
    'b/c.CR3': 'raw',
    'x.heic': 'raw',
    'a.b.mov': 'film',
    jpg: 'other',
    'a.jpg/b': 'other',
    'n.txt': 'other',
  };
  for (const [path, kind] of Object.entries(cases)) assert.is(previewKind(path), kind, path);
});

// --- which file is next ---

interface Fake {
  file: PreviewFile | undefined;
  killed: boolean;
  done(preview?: Preview): void;
  end(how?: string): void;
}

/** A queue whose decoders are the test's; one that is killed ends when the test says so. */
function queueOf(
  more: Partial<QueueOptions> = {},
  slow = 0,
): { queue: PreviewQueue; made: Fake[]; changes: () => number } {
  const made: Fake[] = [];
  let changes = 0;
  const queue = new PreviewQueue({
    start: ({ ready, done, ended }) => {
      const fake: Fake = {
        ...{ file: undefined, killed: false },
        done: (preview = noPreview(`of ${fake.file?.path}`)) => done(preview),
        end: (how = 'SIGKILL') => ended(how),
      };
      made.push(fake);
      return {
        decode: (file) => {
          fake.file = file;
          if (made.length !== slow) ready();
        },
        kill: () => {
          fake.killed = true;
        },
      };
    },
    changed: () => {
      changes += 1;
    },
    ...{ limit: 3_600_000, grace: 3_600_000, rest: 3_600_000 },
    ...more,
  });
  return { queue, made, changes: () => changes };
}

const named = (path: string, mtime = 1): PreviewFile => ({ mount: '/m', path, stored: '', size: 1, mtime });
const notes = (found: (Preview | undefined)[]): (string | undefined)[] => found.map((one) => one?.note);

test('one file at a time, by one decoder; what is known is not decoded again, a newer version is', () => {
  const { queue, made, changes } = queueOf();
  const both = [named('a'), named('b')];
  assert.equal(queue.look(both), [undefined, undefined]);
  assert.equal([made.length, made[0]?.file?.path], [1, 'a']);
  made[0]?.done();
  assert.equal([made.length, made[0]?.file?.path, changes()], [1, 'b', 1]);
  made[0]?.done();
  assert.equal(notes(queue.look(both)), ['of a', 'of b']);
  assert.is(queue.look([named('a', 2)])[0], undefined);
  assert.is(made[0]?.file?.mtime, 2);
  queue.close();
  assert.ok(made[0]?.killed);
});

test('a newer wish replaces an older one: what was not begun is forgotten, what is in hand is cut off', async () => {
  const { queue, made } = queueOf({ grace: 20 });
  queue.look([named('a'), named('b')]);
  for (const path of ['c', 'd', 'e']) queue.look([named(path)]);
  assert.is(made[0]?.file?.path, 'a');
  await until(() => made[0]?.killed === true);
  assert.is(made.length, 1, 'no second one while the first is still there');
  made[0]?.done();
  made[0]?.end();
  assert.equal([made.length, made[1]?.file?.path], [2, 'e']);
  made[1]?.done();
  assert.equal(
    notes(queue.look([named('a'), named('e')])),
    [undefined, 'of e'],
    'what came after the end does not count',
  );
  queue.close();
});

test('one who comes back in time finds the file still in hand', () => {
  const { queue, made } = queueOf();
  queue.look([named('a')]);
  queue.look([named('b')]);
  queue.look([named('a')]);
  made[0]?.done();
  assert.equal(notes(queue.look([named('a')])), ['of a']);
  assert.is(made.length, 1);
  queue.close();
});

test('what takes too long is cut off and said so, the next gets a new decoder, and it is tried again when looked at again', async () => {
  const { queue, made } = queueOf({ limit: 20 });
  const both = [named('a'), named('b')];
  queue.look(both);
  await until(() => made[0]?.killed === true);
  assert.equal(notes(queue.look(both)), ['no preview: it took longer than 0.02 s', undefined]);
  made[0]?.end();
  assert.is(made[1]?.file?.path, 'b');
  made[1]?.done();
  queue.look([named('b')]);
  assert.is(queue.look(both)[0], undefined);
  assert.is(made[1]?.file?.path, 'a');
  queue.close();
});

test('the time to start is not the time of the file, and has an end as well', async () => {
  const patient = queueOf({ limit: 1, starting: 3_600_000 }, 1);
  patient.queue.look([named('a')]);
  await pause(50);
  patient.made[0]?.done();
  assert.equal(notes(patient.queue.look([named('a')])), ['of a']);
  patient.queue.close();
  const stuck = queueOf({ starting: 20 }, 1);
  stuck.queue.look([named('a')]);
  await until(() => stuck.made[0]?.killed === true);
  stuck.queue.close();
});

test('a decoder that dies is said so of its file alone', () => {
  const { queue, made } = queueOf();
  const both = [named('a'), named('b')];
  queue.look(both);
  made[0]?.end('SIGSEGV');
  assert.equal([made.length, made[1]?.file?.path], [2, 'b']);
  made[1]?.done();
  assert.equal(notes(queue.look(both)), ['no preview: the program that decodes ended (SIGSEGV)', 'of b']);
  made[1]?.end('code 1');
  assert.is(made.length, 2, 'it ended while it had nothing to do');
  queue.look([named('c')]);
  assert.is(made.length, 3);
  queue.close();
});

test('an idle decoder is let go; after the end nothing is begun', async () => {
  const { queue, made } = queueOf({ rest: 20 });
  queue.look([named('a')]);
  made[0]?.done();
  // The timer alone would not keep a process alive.
  await until(() => made[0]?.killed === true);
  made[0]?.end();
  queue.close();
  assert.is(queue.look([named('b')])[0], undefined);
  assert.is(made.length, 1);
});

async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 60_000; !holds(); await pause(5))
    if (Date.now() > end) throw new Error('It did not happen in time.');
}

// --- what is in files ---

type Sharp = typeof import('sharp')['default'];
const sharp = createRequire(import.meta.url)('sharp') as Sharp;

const red = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 250, g: 10, b: 10 } } });

async function withFolder(
  work: (mount: string, look: (path: string, stored?: Suffix) => Promise<Preview>) => Promise<void>,
): Promise<void> {
  const mount = mkdtempSync(join(tmpdir(), 'tandem-previews-'));
  try {
    await work(mount, (path, stored = '') => previewOf({ mount, path, stored, size: 0, mtime: 0 }));
  } finally {
    rmSync(mount, { recursive: true, force: true });
  }
}

const pixel = ({ picture }: Preview): number[] => [...Buffer.from(picture?.rgb ?? '', 'base64').subarray(0, 3)];

test('pictures of every kind are made small, upright, and their data are read', () =>
  withFolder(async (mount, look) => {
    await red(600, 300)
      .withExif({ IFD0: { Make: 'Canon', Model: 'Canon EOS R5' } })
      .jpeg()
      .toFile(join(mount, 'a.jpg'));
    const jpeg = await look('a.jpg');
    assert.equal([jpeg.picture?.width, jpeg.picture?.height, jpeg.note], [128, 64, '']);
    assert.ok((pixel(jpeg)[0] ?? 0) > 200 && (pixel(jpeg)[1] ?? 255) < 60);
    assert.equal(Object.fromEntries(jpeg.facts)['Camera'], 'Canon EOS R5');
    assert.equal(Object.fromEntries(jpeg.facts)['Size'], '600x300');
    await red(40, 20).withMetadata({ orientation: 6 }).jpeg().toFile(join(mount, 'turned.jpg'));
    const turned = await look('turned.jpg');
    assert.equal([turned.picture?.width, turned.picture?.height], [20, 40]);
    await sharp({ create: { width: 4, height: 4, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } } })
      .png()
      .toFile(join(mount, 'clear.png'));
    assert.equal(pixel(await look('clear.png')), [128, 128, 128]);
    await red(8, 8).greyscale().tiff().toFile(join(mount, 'grey.tif'));
    assert.is(Buffer.from((await look('grey.tif')).picture?.rgb ?? '', 'base64').length, 8 * 8 * 3);
    writeFileSync(join(mount, 'packed.jpg.gz'), packed(await red(30, 30).jpeg().toBuffer()));
    assert.is((await look('packed.jpg', '.gz')).picture?.width, 30);
    assert.match((await look('a.jpg', '.encrypted')).note, 'sealed: no preview');
  }));

test('of a RAW the embedded picture is shown, turned as the camera was; of a film what it says of itself', () =>
  withFolder(async (mount, look) => {
    writeFileSync(join(mount, 'IMG_1.CR2'), cr2(await red(400, 200).jpeg().toBuffer()));
    const raw = await look('IMG_1.CR2');
    assert.equal([raw.picture?.width, raw.picture?.height, raw.note], [48, 96, '']);
    assert.is(Object.fromEntries(raw.facts)['Camera'], 'Canon EOS 5D');
    writeFileSync(join(mount, 'clip.mp4'), mp4(90));
    const film = await look('clip.mp4');
    assert.is(Object.fromEntries(film.facts)['Length'], '0:01:30');
    assert.is(film.picture, undefined);
    writeFileSync(join(mount, 'empty.CR2'), cr2(Buffer.alloc(0)));
    assert.match((await look('empty.CR2')).note, 'there is no picture embedded in it');
  }));

test('what is damaged, too large, something else, or no file at all gets a sentence', () =>
  withFolder(async (mount, look) => {
    const whole = await sharp({
      create: {
        width: 300,
        height: 300,
        channels: 3,
        noise: { type: 'gaussian', mean: 128, sigma: 50 },
        background: 'red',
      },
    })
      .jpeg()
      .toBuffer();
    const files: Record<string, Buffer | string> = {
      'cut.jpg': whole.subarray(0, whole.length / 2),
      'text.jpg': 'no picture',
      'vector.png': '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/passwd"/></svg>',
      'empty.jpg': '',
      'huge.png': png(100_000, 100_000),
      'text.CR3': 'no raw',
      'text.mov': 'no film',
      'data.bin': Buffer.from([1, 0, 2]),
      'latin.txt': Buffer.from([0x66, 0xfc, 0x72]),
    };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(mount, name), content);
    mkdirSync(join(mount, 'folder.jpg'));
    assert.is(spawnSync('mkfifo', [join(mount, 'fifo.jpg')]).status, 0);
    symlinkSync('/etc/hostname', join(mount, 'link.txt'));
    symlinkSync('/etc', join(mount, 'away'));
    writeFileSync(join(mount, 'bad.lz4'), 'no frame');
    const expected: Record<string, string> = {
      'cut.jpg': 'it cannot be decoded: ',
      'text.jpg': 'its content is no picture that is known here',
      'vector.png': 'its content is no picture that is known here',
      'empty.jpg': 'no preview: ',
      'huge.png': 'it has more than 160 megapixels',
      'text.CR3': 'no preview: ',
      'data.bin': 'no preview for this kind of file',
      'latin.txt': 'no preview for this kind of file',
      'folder.jpg': 'it is not a file',
      'fifo.jpg': 'it is not a file',
      'link.txt': 'links are not followed',
      'away/hostname': 'links are not followed',
      'nowhere.jpg': 'it cannot be read (ENOENT)',
    };
    for (const [name, note] of Object.entries(expected)) {
      const preview = await look(name);
      assert.match(preview.note, note, name);
      assert.is(preview.picture, undefined, name);
      assert.is(preview.text, undefined, name);
    }
    assert.match((await look('bad', '.lz4')).note, 'no preview: ');
    assert.equal((await look('text.mov')).facts, [['Type', 'TXT']]);
  }));

test('a text is shown from its beginning, as far as it goes', () =>
  withFolder(async (mount, look) => {
    writeFileSync(join(mount, 'n.txt'), 'a\tb\r\nü\n');
    assert.equal((await look('n.txt')).text, { lines: ['a    b', 'ü'], cut: false });
    writeFileSync(join(mount, 'long.txt'), `${'ü'.repeat(1000)}\n`.repeat(500));
    const long = (await look('long.txt')).text;
    assert.ok(long?.cut);
    assert.ok((long?.lines.length ?? 0) > 10 && long?.lines.every((line) => line === 'ü'.repeat(400)));
    writeFileSync(join(mount, 'n.txt.gz'), packed(Buffer.from('packed\n')));
    assert.equal((await look('n.txt', '.gz')).text?.lines, ['packed']);
  }));

test('without the packages a preview says which one to install', () =>
  withFolder(async (mount, look) => {
    await red(6, 6).jpeg().toFile(join(mount, 'a.jpg'));
    process.env['TANDEM_NO_EXIFTOOL'] = '1';
    try {
      assert.equal((await look('a.jpg')).facts, [['Size', '6 × 6 JPEG']]);
      writeFileSync(join(mount, 'a.mov'), '');
      assert.match((await look('a.mov')).note, 'npm install exiftool-vendored.pl');
    } finally {
      delete process.env['TANDEM_NO_EXIFTOOL'];
    }
    const code = `import { previewOf } from ${JSON.stringify(new URL('../../tui/preview-worker.ts', import.meta.url).pathname)};
      console.log((await previewOf({ mount: ${JSON.stringify(mount)}, path: 'a.jpg', stored: '', size: 0, mtime: 0 })).note);`;
    const { stdout } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
      encoding: 'utf8',
      env: { ...process.env, TANDEM_NO_SHARP: '1' },
    });
    assert.match(stdout, 'npm install sharp');
  }));

test('metadata of cameras are shown as people say them', () => {
  const media = mediaOf({
    ...{
      Make: 'NIKON CORPORATION',
      Model: 'NIKON Z 9',
      LensModel: 'NIKKOR 50mm',
      DateTimeOriginal: '2026:07:18 10:02:03',
    },
    ...{ Duration: { no: 'text' }, ISO: 400, Orientation: 8, FileType: 'x'.repeat(1000) },
    PreviewImage: '(Binary data 900000 bytes, use -b option to extract)',
    JpgFromRaw: '(Binary data 4000000 bytes, use -b option to extract)',
    ThumbnailImage: '(Binary data 9000 bytes, use -b option to extract)',
  });
  const facts = Object.fromEntries(media.facts);
  assert.equal(
    [facts['Camera'], facts['Lens'], facts['Taken'], facts['ISO']],
    ['NIKON CORPORATION NIKON Z 9', 'NIKKOR 50mm', '2026-07-18 10:02:03', '400'],
  );
  assert.equal([facts['Length'], facts['Type']?.length], [undefined, 200]);
  assert.equal([media.embedded, media.turn], ['PreviewImage', 270]);
  const small = mediaOf({ ThumbnailImage: '(Binary data 9000 bytes, use -b option to extract)' });
  assert.equal([small.embedded, small.turn], ['ThumbnailImage', 0]);
  assert.is(mediaOf({}).embedded, undefined);
});

test('the process decodes one file after the other, names mean nothing to it, and it can be killed', () =>
  withFolder(async (mount) => {
    const picture = await red(20, 10).jpeg().toBuffer();
    const names = ['-o.jpg', '@x.jpg', 'a;touch b.jpg', 'new\nline.jpg', '%d.jpg', '東京 📷.jpg'];
    for (const name of names) writeFileSync(join(mount, name), picture);
    const files = names.map((path): PreviewFile => {
      const { size, mtimeMs } = statSync(join(mount, path));
      return { mount, path, stored: '', size, mtime: mtimeMs };
    });
    let decoders = 0;
    const queue = new PreviewQueue({
      start: (events) => {
        decoders += 1;
        return startDecoder(events);
      },
      changed: () => {},
      limit: 120_000,
    });
    try {
      await until(() => queue.look(files).every((one) => one !== undefined));
      assert.equal(
        queue.look(files).map((one) => [one?.picture?.width, one?.note]),
        names.map(() => [20, '']),
      );
      assert.is(decoders, 1);
    } finally {
      queue.close();
    }
  }));

test('a process that hangs is ended when its time is over, and another one takes the next file', () =>
  withFolder(async (mount) => {
    const file = (path: string): PreviewFile => ({ mount, path, stored: '', size: 5, mtime: 1 });
    for (const name of ['a.txt', 'b.txt']) writeFileSync(join(mount, name), name);
    const queue = new PreviewQueue({ start: startDecoder, changed: () => {}, limit: 2000 });
    const isSeen = (path: string): boolean => {
      const [found] = queue.look([file(path)]);
      // What a busy machine made too slow is tried again.
      if (found && !found.text) queue.look([]);
      return found?.text?.lines[0] === path;
    };
    try {
      await until(() => isSeen('a.txt'));
      const [child, ...others] = decodersOf(process.pid);
      assert.equal(others, [], 'there is one');
      process.kill(child ?? 0, 'SIGSTOP');
      await until(() => queue.look([file('b.txt')])[0] !== undefined);
      assert.is(queue.look([file('b.txt')])[0]?.note, 'no preview: it took longer than 2 s');
      await until(() => isSeen('b.txt'));
      assert.not.ok(decodersOf(process.pid).includes(child ?? 0));
    } finally {
      queue.close();
    }
  }));

test('what a decoder started ends with it', () =>
  withFolder(async (mount) => {
    const seconds = `98765${process.pid}`;
    writeFileSync(join(mount, 'perl'), `#!/bin/sh\nexec sleep ${seconds}\n`, { mode: 0o755 });
    writeFileSync(join(mount, 'a.mov'), 'x');
    const sleeping = (): boolean =>
      spawnSync('ps', ['-eo', 'args='], { encoding: 'utf8' }).stdout.includes(`sleep ${seconds}`);
    const path = process.env['PATH'];
    process.env['PATH'] = `${mount}:${path}`;
    const queue = new PreviewQueue({ start: startDecoder, changed: () => {}, limit: 120_000 });
    try {
      queue.look([{ mount, path: 'a.mov', stored: '', size: 1, mtime: 1 }]);
      await until(sleeping);
    } finally {
      queue.close();
      process.env['PATH'] = path;
    }
    await until(() => !sleeping());
  }));

test('a decoder ends when the process that started it is gone', async () => {
  const code = `import { startDecoder } from ${JSON.stringify(new URL('../../tui/preview-process.ts', import.meta.url).pathname)};
    startDecoder({ ready: () => console.log('ready'), done: () => {}, ended: () => {} });`;
  const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    cwd: REPOSITORY,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  parent.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await until(() => said.includes('ready'));
  const [child] = decodersOf(parent.pid ?? 0);
  assert.ok(child);
  parent.kill('SIGKILL');
  await until(() => !isThere(child));
});

test('the process ends at once when it is killed, and says so', async () => {
  let how = '';
  const nothing = (): void => {};
  const decoder = startDecoder({
    ready: nothing,
    done: nothing,
    ended: (said) => {
      how = said;
    },
  });
  decoder.kill();
  await until(() => how !== '');
  assert.is(how, 'SIGKILL');
});

/** Numbers of the processes that decode for this one. */
function decodersOf(parent: number): number[] {
  const { stdout } = spawnSync('ps', ['-o', 'pid=,args=', '--ppid', String(parent)], { encoding: 'utf8' });
  return stdout.split('\n').flatMap((line) => (line.includes('dashboard-previews') ? [Number.parseInt(line, 10)] : []));
}

/** A dead process that nobody has asked about has no words any more. */
function isThere(pid: number): boolean {
  return spawnSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8' }).stdout.includes(
    'dashboard-previews',
  );
}

/** As a compressed Backup holds it. */
function packed(content: Buffer): Buffer {
  const encoder = encoderFor('.gz', { key: null, compressionLevel: 6 }, { name: 'a', size: content.length, mtime: 0n });
  const pieces = encoder.update(content).map((piece) => Buffer.from(piece));
  return Buffer.concat([...pieces, ...encoder.final()]);
}

/** A PNG that says it is so large, and holds nearly nothing. */
function png(width: number, height: number): Buffer {
  const chunk = (name: string, content: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(name), content]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(content.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8);
  const mark = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    mark,
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(Buffer.alloc(99))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** As a Canon writes it, as far as exiftool looks: one IFD with the camera and a picture, to be turned by 90 degrees. */
function cr2(picture: Buffer): Buffer {
  const texts = Buffer.from('Canon\0Canon EOS 5D\0');
  const entries = picture.length > 0 ? 6 : 4;
  const at = 16 + 2 + entries * 12 + 4;
  const pictureAt = at + texts.length;
  const head = Buffer.alloc(at);
  head.write('II*\0', 'latin1');
  head.writeUInt32LE(16, 4);
  head.write('CR\x02\0', 8, 'latin1');
  head.writeUInt16LE(entries, 16);
  const fields: [tag: number, type: number, count: number, value: number][] = [
    [0x103, 3, 1, 6],
    [0x10f, 2, 6, at],
    [0x110, 2, 13, at + 6],
    ...(picture.length > 0 ? ([[0x111, 4, 1, pictureAt]] as [number, number, number, number][]) : []),
    [0x112, 3, 1, 6],
    ...(picture.length > 0 ? ([[0x117, 4, 1, picture.length]] as [number, number, number, number][]) : []),
  ];
  fields.forEach(([tag, type, count, value], index) => {
    const place = 18 + index * 12;
    head.writeUInt16LE(tag, place);
    head.writeUInt16LE(type, place + 2);
    head.writeUInt32LE(count, place + 4);
    head.writeUInt32LE(value, place + 8);
  });
  return Buffer.concat([head, texts, picture]);
}

/** A film of so many seconds, without a picture: what says its length stands behind its data, as cameras write it. */
function mp4(seconds: number): Buffer {
  const box = (name: string, content: Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(8 + content.length);
    return Buffer.concat([length, Buffer.from(name), content]);
  };
  const movie = Buffer.alloc(100);
  movie.writeUInt32BE(1000, 12);
  movie.writeUInt32BE(seconds * 1000, 16);
  const type = box('ftyp', Buffer.from('isom\0\0\0\0isom'));
  return Buffer.concat([type, box('mdat', Buffer.alloc(300_000)), box('moov', box('mvhd', movie))]);
}

test.run();
