/** Sealed and compressed Backups on real filesystems, from the first sync to a restore with nothing but the password. */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { getGroup } from '../features/groups.ts';
import { initKeyring } from '../features/keyring.ts';
import { verifyFiles } from '../features/verify.ts';
import { REPOSITORY, sandbox } from './helpers/cli.ts';
import { type DriveKind, type DriveSpec, driveTest, type TestDrive } from './helpers/drives.ts';
import { type TestPair, withRealPair } from './helpers/pair.ts';
import { contents, fingerprints, LZ4, put, SEALED, setForm } from './helpers/stored.ts';

const test = suite('stored Backups on real drives');
const MB = 1024 * 1024;
const PASSWORD = 'a wedding in June';
const NEXT = 'and another one in July';

const pairOf = (backup: DriveKind, size = 128): DriveSpec[] => [
  { label: 'Master', fs: 'ext4', size: size * MB },
  { label: 'Backup', fs: backup, size: size * MB },
];

function passwordFile(pair: TestPair, password: string): string {
  const file = join(pair.box.root, createHash('sha256').update(password).digest('hex').slice(0, 8));
  writeFileSync(file, password, { mode: 0o600 });
  return file;
}

async function seal(pair: TestPair): Promise<void> {
  await initKeyring(getGroup('Archive', pair.ctx), { kind: 'password', password: PASSWORD }, pair.ctx);
  await setForm(pair, { ...LZ4, ...SEALED, encryption_password_file: passwordFile(pair, PASSWORD) });
}

function fill(root: string): void {
  put(root, 'Day 1/clip.mov', randomBytes(2 * MB + 17));
  put(root, 'Day 1/notes.txt', 'line after line\n'.repeat(80_000));
  put(root, 'Day 1/ünï 😀.xmp', '<x/>');
  put(root, 'Day 2/archive.gz', 'not compressed, only called so');
  put(root, 'Day 2/clip.mov.encrypted', randomBytes(5000));
  put(root, 'Day 2/deep/er/still', randomBytes(300_000));
  put(root, 'empty', '');
}

/** The whole Backup, opened by other means than tandem's. */
function openedByOthers(pair: TestPair, password: string): number {
  const script = join(REPOSITORY, 'tests/fixtures/sealed/whole.py');
  const out = spawnSync('python3', [script, passwordFile(pair, password), pair.backup, pair.master], {
    encoding: 'utf8',
  });
  assert.is(out.status, 0, out.stderr);
  return Number(out.stdout);
}

async function quiet(pair: TestPair, what: string): Promise<void> {
  const again = await pair.sync();
  assert.equal(
    [again.status, again.files_copied, again.conflicts_detected, again.problems],
    ['completed', 0, 0, []],
    what,
  );
  const verified = await verifyFiles('Archive', {}, pair.ctx);
  assert.equal([verified.status, verified.findings], ['completed', []], what);
}

/** Turns one bit of the file on the drive itself, in the middle of its last block, where no time changes. */
function rot(drive: TestDrive, path: string): void {
  const content = readFileSync(join(drive.mount, path));
  const part = content.subarray(content.length - 4000, content.length - 3000);
  drive.unplug();
  const fd = openSync(drive.image, 'r+');
  try {
    const image = Buffer.alloc(statSync(drive.image).size);
    for (let at = 0; at < image.length; ) at += readSync(fd, image, at, Math.min(64 * MB, image.length - at), at);
    const at = image.indexOf(part);
    assert.ok(at > 0, 'the stored bytes are on the medium');
    writeSync(fd, Buffer.from([(image[at + 10] ?? 0) ^ 4]), 0, 1, at + 10);
  } finally {
    closeSync(fd);
  }
  drive.replug();
}

for (const kind of ['exfat', 'ntfs'] as const)
  driveTest(
    test,
    `ext4 to ${kind}, LZ4 and sealed: a whole life, and back with the password alone`,
    pairOf(kind),
    async (drives) => {
      await withRealPair(drives, {}, async (pair) => {
        const [, backup] = drives as [TestDrive, TestDrive];
        fill(pair.master);
        await seal(pair);
        const first = await pair.sync({ options: { verify_checksums: 'checksum' } });
        assert.equal([first.status, first.files_copied, first.problems], ['completed', 7, []]);
        await quiet(pair, 'first');
        put(pair.master, 'Day 1/notes.txt', 'an edit\n'.repeat(4000));
        put(pair.master, 'new/one', 'new');
        renameSync(join(pair.master, 'Day 2'), join(pair.master, 'Day two'));
        rmSync(join(pair.master, 'empty'));
        const second = await pair.sync({ options: { on_master_delete: 'trash' } });
        assert.equal([second.status, second.conflicts_detected, second.problems], ['completed', 0, []]);
        await quiet(pair, 'second');
        assert.is(openedByOthers(pair, PASSWORD), 7);

        const before = fingerprints(pair.backup);
        const changed = await pair.box.run([
          'encrypt',
          'password',
          'Archive',
          '--change',
          '--password-file',
          passwordFile(pair, PASSWORD),
          '--new-password-file',
          passwordFile(pair, NEXT),
        ]);
        assert.is(changed.code, 0, `${changed.stdout}${changed.stderr}`);
        assert.equal(fingerprints(pair.backup), before, 'no file is sealed anew');
        await setForm(pair, { ...LZ4, ...SEALED, encryption_password_file: passwordFile(pair, NEXT) });
        await quiet(pair, 'another password');
        assert.is(openedByOthers(pair, NEXT), 7);

        await restoredElsewhere(pair, backup);

        rot(backup, 'Day 1/clip.mov.lz4.encrypted');
        const other = pair.context();
        const found = await verifyFiles('Archive', { side: 'backup' }, other);
        assert.equal(
          found.findings.map(({ path, side, kind }) => `${path} ${side} ${kind}`),
          ['Day 1/clip.mov backup rot'],
        );
        const healed = await verifyFiles('Archive', { repair: true }, other);
        assert.ok(
          healed.findings.every((one) => one.healed),
          JSON.stringify(healed.findings),
        );

        await setForm(pair, {});
        const plain = await pair.sync({}, pair.context());
        assert.equal([plain.status, plain.conflicts_detected, plain.problems], ['completed', 0, []]);
        assert.equal(contents(pair.backup), contents(pair.master));
        assert.ok(!names(pair.backup).some((name) => name.endsWith('.lz4.encrypted')));
        await quiet(pair, 'plain again');
      });
    },
  );

const names = (root: string): string[] => Object.keys(contents(root));

/** A computer that never saw the group, with the Backup and the password. */
async function restoredElsewhere(pair: TestPair, backup: TestDrive): Promise<void> {
  const box = sandbox();
  try {
    writeFileSync(
      join(box.config, 'app.yaml'),
      `version: 1\ndrives:\n  allow_fixed: ${JSON.stringify([backup.mount])}\n`,
    );
    const out = join(box.root, 'out');
    const wrong = await box.run(['restore', 'run', backup.mount, '--to', out, '--json'], {
      env: { TANDEM_PASSWORD: PASSWORD },
    });
    assert.is(wrong.code, 8, `${wrong.stdout}${wrong.stderr}`);
    assert.ok(!existsSync(out) || readdirSync(out).length === 0, 'nothing is written with a wrong password');
    const right = await box.run(['restore', 'run', backup.mount, '--to', out, '--json'], {
      env: { TANDEM_PASSWORD: NEXT },
    });
    assert.is(right.code, 0, `${right.stdout}${right.stderr}`);
    assert.equal(contents(out), contents(pair.master));
  } finally {
    box.cleanup();
  }
}

test.run();
