/** Rot on the medium below a mounted filesystem, and what a verification says of it. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { VerifyResult } from '../../features/verify.ts';
import type { TestDrive } from './drives.ts';

/** Content that stands only once on a drive, over more than one block. */
export const unique = (name: string): string => `<${name}>${name.repeat(3000)}</${name}>`;

export const brief = (result: VerifyResult): string[] =>
  result.findings.map(({ side, path, kind, healed }) => `${side} ${path} ${kind}${healed ? ' healed' : ''}`);

/** Changes one byte of a file on the medium; the filesystem on it does not notice. */
export function flip(drive: TestDrive, content: string): void {
  assert.is(spawnSync('sync', ['-f', drive.mount]).status, 0);
  const bytes = readFileSync(drive.image);
  const at = bytes.indexOf(content.slice(0, 64));
  assert.ok(at > 0 && bytes.indexOf(content.slice(0, 64), at + 1) < 0, 'the content is on the medium, once');
  const result = spawnSync('dd', [`of=${drive.image}`, 'bs=1', `seek=${at + 20}`, 'conv=notrunc'], { input: '#' });
  assert.is(result.status, 0, String(result.stderr));
}

/** What the medium says, not what a cache remembers. */
export function remount(drive: TestDrive): void {
  drive.unplug();
  drive.replug();
}
