/** `restore undo`: an operation's former state comes back to the byte, and no run takes that back. */
import {
  chmodSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findPair } from '../features/history.ts';
import { planUndo, undoOperation } from '../features/undo.ts';
import { readConflicts } from '../shared/inbox.ts';
import { driveTest } from './helpers/drives.ts';
import { edit, refusal, snapshotOf, type TestPair, versionsOf, withPair, withRealPair } from './helpers/pair.ts';

const test = suite('undo');

/** Users' entries: mode, mtime, content. Inodes and ctimes move with a rename. */
function treeOf(root: string): Record<string, string> {
  const tree: Record<string, string> = {};
  for (const [path, text] of Object.entries(snapshotOf(root))) {
    const own = path.slice(root.length + 1);
    if (own === '' || own === '.tandem' || own.startsWith('.tandem/')) continue;
    const [mode, , , size, mtime, , ...content] = text.split(' ');
    const folder = (Number(mode) & 0o170000) === 0o040000;
    tree[own] = [mode, folder ? '' : size, mtime, ...content].join(' ');
  }
  return tree;
}

async function undonePaths({ ctx, master, backup }: TestPair): Promise<string[]> {
  const uuid = (root: string): string =>
    JSON.parse(readFileSync(join(root, '.tandem', 'drive.json'), 'utf8')).drive_uuid;
  const pairId = await findPair(uuid(master), uuid(backup), ctx);
  return pairId === null ? [] : (await readConflicts(pairId, '', ctx)).map(({ path }) => path);
}

/** One of everything that a sync does to a Backup. */
function changeEverything(master: string): void {
  edit(master, {
    'changed.txt': 'new content',
    'New/fresh.txt': 'fresh',
    'New/Deep/more.txt': 'more',
    'Folder/added.txt': 'added',
  });
  rmSync(join(master, 'gone.txt'));
  rmSync(join(master, 'Old'), { recursive: true });
  rmSync(join(master, 'was-folder'), { recursive: true });
  edit(master, { 'was-folder': 'a file now' });
  rmSync(join(master, 'was-file'));
  edit(master, { 'was-file/inside.txt': 'in a folder now' });
  chmodSync(join(master, 'mode.txt'), 0o600);
  utimesSync(join(master, 'Folder'), 1_500_000_000, 1_500_000_000);
}

const BEFORE = {
  'changed.txt': 'old content',
  'gone.txt': 'deleted later',
  'same.txt': 'same',
  'mode.txt': 'mode',
  'Folder/kept.txt': 'kept',
  'Old/a.txt': 'a',
  'Old/Deeper/b.txt': 'b',
  'Old/Empty': {},
  'was-folder/x.txt': 'x',
  'was-folder/y/z.txt': 'z',
  'was-file': 'a file',
};

test('an undo gives the former tree back to the byte: update, delete, new, folders, type change, metadata', async () => {
  await withPair({ master: BEFORE as never }, async (pair) => {
    await pair.sync();
    const former = treeOf(pair.backup);
    changeEverything(pair.master);
    const second = await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.is(second.status, 'completed', JSON.stringify(second.problems));
    const later = treeOf(pair.backup);
    assert.not.equal(later, former);
    const undone = await undoOperation(second.operation_id, {}, pair.ctx);
    assert.is(undone.status, 'completed', JSON.stringify(undone.problems));
    assert.equal(treeOf(pair.backup), former);
  });
});

test.run();
