/**
 * The process that decodes previews, one file after the other. What it reads may be damaged or made to do harm, and may lie
 * on a drive that does not answer: so it is a process that can be killed at any time, that holds nothing of value, and that
 * the system ends first when memory runs short. It writes nothing: what is compressed is opened in memory.
 */
import { isUtf8 } from 'node:buffer';
import { writeFileSync } from 'node:fs';
import { messageOf } from '../shared/errors.ts';
import { formOf } from '../shared/stored.ts';
import { embeddedPicture, mediaFacts } from './preview-media.ts';
import { type Drawn, drawn } from './preview-picture.ts';
import { openSource, type Source } from './preview-source.ts';
import { noPreview, type Preview, type PreviewFile, previewKind } from './previews.ts';

/** `ready` comes first, once. */
export type FromWorker = 'ready' | Preview;

export interface PreviewChannel {
  send(message: FromWorker): void;
  receive(listener: (file: PreviewFile) => void): void;
}

/** Answers each file with its preview, in the order in which they came. */
export function runPreviewWorker(channel: PreviewChannel): void {
  dieFirst();
  let before: Promise<void> = Promise.resolve();
  channel.receive((file) => {
    before = before.then(async () => channel.send(await previewOf(file)));
  });
  channel.send('ready');
}

/** Never rejects: what goes wrong is a sentence in the preview. */
export async function previewOf(file: PreviewFile): Promise<Preview> {
  const kind = previewKind(file.path);
  if (formOf(file.stored).sealed) return noPreview('sealed: no preview; d shows how the versions differ');
  try {
    const source = openSource(file);
    if (kind === 'other') return await textOf(source);
    return await (kind === 'picture' ? picturePreview(source) : mediaPreview(source, kind === 'raw'));
  } catch (error) {
    return noPreview(`no preview: ${messageOf(error)}`);
  }
}

// --- internal ---

/** Bytes that are read of a text, and lines that are shown of it. */
const TEXT = { bytes: 128 * 1024, lines: 1000, columns: 400 };

function dieFirst(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '1000');
  } catch {
    // Only Linux has it.
  }
}

async function textOf(source: Source): Promise<Preview> {
  const head = await source.head(TEXT.bytes);
  const cut = head.length >= TEXT.bytes;
  // A letter that the cut went through is none.
  const whole = cut ? head.subarray(0, head.lastIndexOf(10) + 1) : head;
  if (whole.includes(0) || !isUtf8(whole) || (cut && whole.length === 0))
    return noPreview('no preview for this kind of file');
  const lines = whole.toString('utf8').split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  const shown = lines.slice(0, TEXT.lines).map((line) => line.slice(0, TEXT.columns).replaceAll('\t', '    '));
  return { facts: [], text: { lines: shown, cut: cut || lines.length > TEXT.lines }, note: '' };
}

async function picturePreview(source: Source): Promise<Preview> {
  const { facts } = await mediaFacts(source);
  try {
    const picture = await drawn(await source.whole());
    return withPicture(facts, picture);
  } catch (error) {
    return { facts, note: `no preview: ${messageOf(error)}` };
  }
}

async function mediaPreview(source: Source, raw: boolean): Promise<Preview> {
  const { facts, embedded, turn, trouble } = await mediaFacts(source);
  if (trouble !== '') return { facts, note: trouble };
  if (!raw) return { facts, note: facts.length > 0 ? '' : 'no preview for this kind of file' };
  if (!embedded) return { facts, note: 'no preview: there is no picture embedded in it' };
  try {
    const picture = await drawn(await embeddedPicture(source, embedded), turn);
    return withPicture(facts, { ...picture, size: '' });
  } catch (error) {
    return { facts, note: `no preview: ${messageOf(error)}` };
  }
}

/** Without exiftool the decoder still knows how large it is. */
function withPicture(facts: Preview['facts'], { width, height, rgb, size }: Drawn): Preview {
  const known = facts.length > 0 || size === '' ? facts : ([['Size', size]] as const);
  return { facts: known, picture: { width, height, rgb: rgb.toString('base64') }, note: '' };
}
