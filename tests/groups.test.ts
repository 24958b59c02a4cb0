import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { type DriveInfo, listDrives, readSignature, writeSignature } from '../features/detect.ts';
import {
  command,
  connectPair,
  createGroup,
  deleteGroup,
  ensureSigned,
  type Group,
  getBackupPath,
  getDriveRole,
  getGroup,
  groupStatus,
  listGroups,
  matchesDrive,
  panel,
  resolveDrive,
  resolveOptions,
  setGroupOptions,
  updateGroup,
} from '../features/groups.ts';
import { checkApart, pairWarnings } from '../features/pairs.ts';
import { createProject } from '../features/projects.ts';
import { groupUses } from '../features/uses.ts';
import { checkNewGroup, type NewGroupCheck } from '../features/wizard.ts';
import { loadYaml, PACKAGE_CONFIG, saveYamlValue, withFileLock, zod } from '../shared/config.ts';
import { type Context, createContext, type Prompts, refusingPrompts } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import type { TandemEvent } from '../shared/events.ts';
import { editGroups } from '../shared/groups-file.ts';
import { OPTION_GROUPS } from '../shared/option-notes.ts';
import { OPTIONS, optionProblems } from '../shared/options.ts';
import { ensureWatcher } from '../shared/watch-rows.ts';
import './helpers/property.ts';

const test = suite('groups');
const TB = 1_000_000_000_000;

interface Home {
  root: string;
  file: string;
  ctx: Context;
  events: TandemEvent[];
  /** Names the virtual drives that exist: label → size; makes their folders. */
  plug(drives: Record<string, number | undefined>): Promise<Record<string, DriveInfo>>;
}

async function home(run: (home: Home) => Promise<void>, prompts?: Partial<Prompts>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'groups-'));
  const events: TandemEvent[] = [];
  let tick = Date.parse('2026-03-01T12:00:00.500Z');
  const ctx = createContext({
    configDir: join(root, 'config'),
    dataDir: join(root, 'data'),
    emit: (event) => events.push(event),
    now: () => {
      tick += 1000;
      return new Date(tick);
    },
    prompts: { ...refusingPrompts, ...prompts },
  });
  mkdirSync(ctx.configDir);
  const plug: Home['plug'] = async (drives) => {
    const virtual = Object.entries(drives).map(([label, total_size]) => ({
      path: join(root, label.replace(/\W/g, '_')),
      label,
      total_size,
    }));
    for (const drive of virtual) mkdirSync(drive.path, { recursive: true });
    writeFileSync(join(ctx.configDir, 'app.yaml'), JSON.stringify({ drives: { virtual } }));
    const listed = await listDrives(ctx);
    return Object.fromEntries(listed.map((drive) => [drive.label, drive]));
  };
  try {
    await run({ root, file: join(ctx.configDir, 'storage_groups.yaml'), ctx, events, plug });
  } finally {
    await ctx.close();
    rmSync(root, { recursive: true, force: true });
  }
}

/** A home with one group of two connected drives. */
async function paired(
  run: (home: Home & { group: Group; drives: Record<string, DriveInfo> }) => Promise<void>,
  prompts?: Partial<Prompts>,
): Promise<void> {
  await home(async (at) => {
    const drives = await at.plug({ PhotoMaster: 2 * TB, PhotoBackup: 2 * TB, Spare: 4 * TB });
    const { group } = await createGroup(
      { name: 'Archive', master: need(drives['PhotoMaster']), backup: need(drives['PhotoBackup']) },
      at.ctx,
    );
    await run({ ...at, group, drives });
  }, prompts);
}

function need<T>(value: T | undefined | null): T {
  if (value === undefined || value === null) throw new Error('missing in the test');
  return value;
}

async function refusal(work: () => unknown): Promise<TandemError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof TandemError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const REFERENCE = `# my drives
version: 1
groups:
  # the good ones
  - id: "550e8400-e29b-41d4-a716-446655440000"
    name: "Photo Archive 2026"   # keep
    created: "2026-01-12T10:00:00"
    modified: "2026-01-12T10:00:00"
    description: "Primary storage for photo projects"
    master_drive:
      serial_number: "1234567890ABC"
      label: "PhotoMaster"
      total_size: 2000000000000
    backup_drive:
      serial_number: null
      label: "PhotoBackup"
      total_size: 2000000000000
# the end
`;

const virtual = (label: string, change: Partial<DriveInfo> = {}): DriveInfo => ({
  device: '/dev/sdx1',
  mount_path: `/nowhere/${label}`,
  label,
  serial_number: null,
  fs_uuid: null,
  drive_uuid: null,
  filesystem: 'ext4',
  total_size: TB,
  free_size: TB,
  removable: true,
  virtual: false,
  transport: 'usb',
  rotational: null,
  group_id: null,
  role: null,
  read_only: false,
  network: false,
  disk: '/dev/sdx',
  device_number: '8:1',
  ...change,
});

// The file.

test('listGroups() reads the structure of the reference as it is, times without a zone as UTC', () =>
  home(async ({ ctx, file }) => {
    writeFileSync(file, REFERENCE);
    const [group] = listGroups(ctx);
    assert.is(group?.created, '2026-01-12T10:00:00Z');
    assert.equal(group?.master_drive, { serial_number: '1234567890ABC', label: 'PhotoMaster', total_size: 2 * TB });
    assert.equal(group?.options, {});
    assert.is(readFileSync(file, 'utf8'), REFERENCE);
    assert.equal(listGroups(createContext({ configDir: join(file, '..', 'none'), dataDir: ctx.dataDir })), []);
  }));

test('an edit keeps comments, order, spelling and unknown fields', () =>
  home(async ({ ctx, file }) => {
    writeFileSync(file, REFERENCE.replace('    master_drive', '    colour: red # mine\n    master_drive'));
    await updateGroup('photo archive 2026', { description: 'Now: "other"' }, ctx);
    const text = readFileSync(file, 'utf8');
    const expected = REFERENCE.replace('    master_drive', '    colour: red # mine\n    master_drive')
      .replace('"Primary storage for photo projects"', '"Now: \\"other\\""')
      .replace('modified: "2026-01-12T10:00:00"', 'modified: "2026-03-01T12:00:01Z"')
      .replace('2026"   # keep', '2026" # keep')
      .replace('\n# the end', '\n\n# the end');
    assert.is(text, expected);
    await deleteGroup('550e', ctx);
    assert.match(readFileSync(file, 'utf8'), /# my drives[\s\S]*# the end/);
  }));

test('a broken file is an error with line and column and is never overwritten', () =>
  home(async ({ ctx, file }) => {
    const cases: [string, RegExp][] = [
      ['version: 1\ngroups:\n  - id: "a\n', /storage_groups\.yaml:\d+:\d+: /],
      [
        REFERENCE.replace('total_size: 2000000000000', 'total_size: big'),
        /storage_groups\.yaml:13:19: groups\.0\.master_drive\.total_size: must be a size in bytes.*"big"/,
      ],
      [
        REFERENCE.replace('"1234567890ABC"', '1234567890123456789'),
        /:11:22: .*serial_number: must be text; put a number in quotes/,
      ],
      [
        REFERENCE.replace('created: "2026-01-12T10:00:00"', 'created: "soon"'),
        /:7:14: groups\.0\.created: must be a time/,
      ],
      [REFERENCE.replace('version: 1', 'version: 1\nversion: 1'), /:3:1: /],
      [
        `${REFERENCE}    options: { incremantal: false }\n`,
        /groups\.0\.options\.incremantal: is not known \(Did you mean 'incremental'\?\)/,
      ],
      [
        `${REFERENCE}    options: { realtime: { debounce_seconds: 61 } }\n`,
        /realtime\.debounce_seconds: must be seconds from 0\.1 to 60/,
      ],
      [
        `${REFERENCE}    options:\n      enable_compression: true\n      compression_level: 10\n`,
        /:21:26: groups\.0\.options\.compression_level: must be from 1 to 9 with gzip; 10 is not .*\(current value: 10\)/,
      ],
      [
        `${REFERENCE}    options: { compression_type: lz4, compression_level: 13 }\n`,
        /:19:58: groups\.0\.options\.compression_level: must be a number from 1 to 9, with lz4 to 12/,
      ],
      [
        `${REFERENCE}    options: { encryption_type: rot13 }\n`,
        /:19:33: .*encryption_type: must be one of aes-256-gcm/,
      ],
      [
        `${REFERENCE}    options: { encryption_key_file: /k, encryption_password_file: /p }\n`,
        /:19:67: .*encryption_password_file: stands beside encryption_key_file/,
      ],
      [`${REFERENCE}    options: { enable_encryption: perhaps }\n`, /:19:35: .*must be true or false.*"perhaps"/],
      [`${REFERENCE}    options: { filters: { min_size: lots } }\n`, /filters\.min_size: must be a size/],
      [REFERENCE + REFERENCE.slice(REFERENCE.indexOf('  - id')), /groups\.1\.id: is used twice/],
      [
        'a: &a [1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n',
        /alias/i,
      ],
    ];
    for (const [text, message] of cases) {
      writeFileSync(file, text);
      for (const work of [() => listGroups(ctx), () => deleteGroup('550e8400', ctx)]) {
        const error = await refusal(work);
        assert.is(error.code, 'config');
        assert.match(error.message, message);
      }
      assert.is(readFileSync(file, 'utf8'), text);
    }
    writeFileSync(file, Buffer.concat([Buffer.from('# \xff caf', 'latin1'), Buffer.from(REFERENCE)]));
    assert.match((await refusal(() => listGroups(ctx))).message, /:1:3: This is not valid UTF-8/);
  }));

test('a newer version is refused and untouched', () =>
  home(async ({ ctx, file }) => {
    const text = 'version: 2\ngroups: { any: thing }\n';
    writeFileSync(file, text);
    for (const work of [() => listGroups(ctx), () => updateGroup('x', { name: 'y' }, ctx)]) {
      assert.match((await refusal(work)).message, /storage_groups\.yaml:1:10: version: was written by a newer tandem/);
    }
    assert.is(readFileSync(file, 'utf8'), text);
  }));

test('a file of before there were versions is brought to version 1 by the first edit, and kept beside it', () =>
  home(async ({ ctx, file }) => {
    const former = REFERENCE.replace('version: 1\n', '');
    assert.is.not(former, REFERENCE);
    writeFileSync(file, former);
    const [group] = listGroups(ctx);
    assert.is(readFileSync(file, 'utf8'), former, 'reading changes nothing');
    for (const description of ['one', 'two']) await updateGroup(group?.id ?? '', { description }, ctx);
    assert.match(readFileSync(file, 'utf8'), /^version: 1$/m);
    assert.is(readFileSync(`${file}.v0.bak`, 'utf8'), former);
    assert.not(existsSync(`${file}.v0-1.bak`), 'once');
  }));

test('listGroups() sees a file that another program changed, also with the same length', () =>
  home(async ({ ctx, file }) => {
    writeFileSync(file, REFERENCE);
    const first = listGroups(ctx);
    assert.is(first[0], listGroups(ctx)[0], 'unchanged: from memory');
    assert.throws(() => ((first[0] as Group).name = 'x'), 'shared rows are frozen');
    writeFileSync(`${file}.new`, REFERENCE.replace('Archive 2026', 'Archive 2027'));
    const { atime, mtime } = statSync(file);
    renameSync(`${file}.new`, file);
    utimesSync(file, atime, mtime);
    assert.is(listGroups(ctx)[0]?.name, 'Photo Archive 2027');
    rmSync(file);
    assert.equal(listGroups(ctx), []);
  }));

test('the remembered value counts only for the same bytes, and a damaged or unwritable one is ignored', () =>
  home(async ({ ctx, file, root }) => {
    writeFileSync(file, REFERENCE);
    const cache = join(ctx.dataDir, 'cache');
    const fresh = (name: string): Group[] => {
      const other = join(root, name);
      symlinkSync(ctx.configDir, other);
      return listGroups(createContext({ configDir: other, dataDir: ctx.dataDir }));
    };
    assert.is(fresh('one')[0]?.name, 'Photo Archive 2026');
    for (const name of readdirSync(cache)) {
      const old = JSON.parse(readFileSync(join(cache, name), 'utf8'));
      writeFileSync(join(cache, name), JSON.stringify({ key: `0${old.key.slice(1)}x`, value: { groups: [] } }));
    }
    assert.is(listGroups(ctx).length, 1);
    for (const name of readdirSync(cache)) writeFileSync(join(cache, name), '{"key":');
    assert.is(fresh('two').length, 1);
    rmSync(cache, { recursive: true });
    writeFileSync(cache, 'in the way');
    assert.is(fresh('three').length, 1);
  }));

test('a symlinked file stays a symlink and keeps its mode', () =>
  home(async ({ ctx, file, root }) => {
    const real = join(root, 'dotfiles.yaml');
    writeFileSync(real, REFERENCE);
    chmodSync(real, 0o600);
    symlinkSync(real, file);
    await updateGroup('550e', { name: 'Other' }, ctx);
    assert.ok(lstatSync(file).isSymbolicLink());
    assert.is(statSync(real).mode & 0o777, 0o600);
    assert.match(readFileSync(real, 'utf8'), /name: "Other"/);
  }));

test('an edit that would change something else through an anchor is refused', () =>
  home(async ({ ctx, file }) => {
    const shared = REFERENCE.replace('description: "Primary', 'note: *n\n    description: "Primary').replace(
      'name: "Photo',
      'name: &n "Photo',
    );
    writeFileSync(file, shared);
    const error = await refusal(() => updateGroup('550e', { name: 'Other' }, ctx));
    assert.match(error.message, /without changing something else/);
    assert.is(readFileSync(file, 'utf8'), shared);
  }));

test('processes that edit at once lose nothing', () =>
  home(async ({ ctx, file, root }) => {
    writeFileSync(file, REFERENCE);
    const script = join(root, 'edit.ts');
    const here = (path: string): string => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
    writeFileSync(
      script,
      `import { createContext } from ${here('../shared/context.ts')};
       import { editGroups } from ${here('../shared/groups-file.ts')};
       const ctx = createContext({ configDir: ${JSON.stringify(ctx.configDir)}, dataDir: ${JSON.stringify(ctx.dataDir)} });
       for (let n = 0; n < 8; n += 1) await editGroups(ctx, (groups) => [...groups, { ...groups[0], id: process.argv[2] + n, name: process.argv[2] + n }]);`,
    );
    const codes = ['a', 'b', 'c'].map(
      (name) =>
        new Promise((done) => {
          const tsx = fileURLToPath(new URL('../node_modules/tsx/dist/loader.mjs', import.meta.url));
          const child = spawn(process.execPath, ['--import', tsx, script.replace(/\.ts$/, '.mts'), name], {
            stdio: ['ignore', 'inherit', 'inherit'],
          });
          child.on('close', done);
        }),
    );
    renameSync(script, script.replace(/\.ts$/, '.mts'));
    assert.equal(await Promise.all(codes), [0, 0, 0]);
    const ids = listGroups(ctx)
      .map((group) => group.id)
      .sort();
    const expected = ['a', 'b', 'c'].flatMap((name) => Array.from({ length: 8 }, (_, n) => name + n));
    assert.equal(ids, ['550e8400-e29b-41d4-a716-446655440000', ...expected].sort());
    assert.equal(
      readdirSync(ctx.configDir).filter((name) => /lock|tmp/.test(name)),
      [],
    );
    assert.match(readFileSync(file, 'utf8'), /# the good ones/);
  }));

test('withFileLock() breaks the lock of a process that is gone, waits for a living one, says who to blame', () =>
  home(async ({ ctx, file, root }) => {
    writeFileSync(file, REFERENCE);
    await withFileLock(join(root, 'probe'), () => {
      const held = JSON.parse(readFileSync(join(root, 'probe.lock'), 'utf8'));
      writeFileSync(`${file}.lock`, JSON.stringify({ ...held, pid: 2 ** 22 + 1 }));
    });
    await updateGroup('550e', { name: 'One' }, ctx);
    writeFileSync(`${file}.lock`, '');
    const error = await refusal(() => withFileLock(file, () => {}, 60));
    assert.is(error.code, 'locked');
    assert.match(error.message, /is being edited by another process/);
    const old = new Date(Date.now() - 5000);
    utimesSync(`${file}.lock`, old, old);
    await Promise.all([
      updateGroup('550e', { description: 'two' }, ctx),
      setGroupOptions('550e', ['incremental=false'], undefined, ctx),
    ]);
    assert.equal([getGroup('550e', ctx).description, getGroup('550e', ctx).options], ['two', { incremental: false }]);
    assert.not(existsSync(`${file}.lock`));
  }));

test('saveYamlValue() refuses a file that changed since it was read', () =>
  home(async ({ root }) => {
    const z = zod();
    const schema = z.looseObject({ a: z.number() });
    const path = join(root, 'x.yaml');
    writeFileSync(path, 'a: 1\n');
    const file = loadYaml(path, schema);
    writeFileSync(path, 'a: 10\n');
    const error = await refusal(() => saveYamlValue(file, { a: 2 }, schema));
    assert.match(error.message, /was changed by another program/);
    assert.is(readFileSync(path, 'utf8'), 'a: 10\n');
  }));

test('any sequence of edits reads back as what was meant', () =>
  home(async ({ ctx, file }) => {
    const text = fc.string({ unit: 'binary', maxLength: 30 });
    const drive = fc.record(
      { serial_number: fc.option(text), label: text, total_size: fc.maxSafeNat() },
      { noNullPrototype: true },
    );
    const groups = fc.uniqueArray(
      fc.record(
        {
          name: text,
          description: text,
          master_drive: drive,
          backup_drive: drive,
          exclude: fc.array(
            text.filter((one) => one !== ''),
            { maxLength: 3 },
          ),
        },
        { noNullPrototype: true },
      ),
      { maxLength: 4, selector: (one) => one.name },
    );
    await fc.assert(
      fc.asyncProperty(groups, groups, async (first, second) => {
        rmSync(file, { force: true });
        for (const state of [first, second]) {
          const now = '2026-01-01T00:00:00Z';
          const meant = state.map(
            ({ exclude, ...one }, index): Group => ({
              ...one,
              id: `id${index}`,
              created: now,
              modified: now,
              options: { filters: { exclude } },
            }),
          );
          await editGroups(ctx, () => structuredClone(meant));
          assert.equal(listGroups(ctx), meant);
          assert.equal((parse(readFileSync(file, 'utf8')) as { groups?: Group[] }).groups?.length ?? 0, meant.length);
        }
      }),
      { numRuns: 40 },
    );
  }));

// Naming a group.

test('getGroup() takes an id, a unique prefix, or a name in any case', () =>
  home(async ({ ctx, file }) => {
    assert.match((await refusal(() => getGroup('x', ctx))).hint ?? '', /groups create/);
    const twin = REFERENCE.slice(REFERENCE.indexOf('  - id'), REFERENCE.indexOf('# the end'));
    writeFileSync(
      file,
      REFERENCE.replace('# the end', twin.replace('550e8400', '550e8411').replace('Photo Archive 2026', 'Video')),
    );
    for (const query of ['550e8400-e29b-41d4-a716-446655440000', '550E8400', ' photo archive 2026 '])
      assert.is(getGroup(query, ctx).name, 'Photo Archive 2026');
    const both = await refusal(() => getGroup('550e', ctx));
    assert.is(both.code, 'ambiguous');
    assert.match(both.message, /'Photo Archive 2026'.*'Video'/);
    assert.is((await refusal(() => getGroup('550', ctx))).code, 'not_found');
    assert.match((await refusal(() => getGroup('Vidoe', ctx))).hint ?? '', /Did you mean 'Video'/);
    assert.match((await refusal(() => getGroup('\u001b[2J\n', ctx))).message, /'␛\[2J␊'/);
  }));

// Drives.

test('matchesDrive(): the signature decides, else the serial number, else label and size', () => {
  const known = (change: object): Parameters<typeof matchesDrive>[0] => ({
    serial_number: 'A1B2',
    label: 'Photo',
    total_size: 1000,
    ...change,
  });
  const table: [string, Parameters<typeof matchesDrive>[0], Partial<DriveInfo>, boolean][] = [
    ['same serial, all else different', known({}), { serial_number: 'A1B2', label: 'x', total_size: 1 }, true],
    ['other serial, all else equal', known({}), { serial_number: 'B2C3', label: 'Photo', total_size: 1000 }, false],
    ['no serial on the drive', known({}), { label: 'PHOTO', total_size: 1000 }, true],
    [
      'placeholder serials',
      known({ serial_number: '00000000' }),
      { serial_number: '0123456789', label: 'photo', total_size: 1000 },
      true,
    ],
    ['other label', known({}), { label: 'Photos', total_size: 1000 }, false],
    ['size 5 % larger', known({ total_size: 950 }), { label: 'Photo', total_size: 1000 }, true],
    ['size beyond 5 %', known({ total_size: 949 }), { label: 'Photo', total_size: 1000 }, false],
    ['size 5 % smaller', known({ total_size: 1050 }), { label: 'Photo', total_size: 1000 }, true],
    [
      'right signature, all else different',
      known({ drive_uuid: 'u' }),
      { drive_uuid: 'u', serial_number: 'Z', label: 'z', total_size: 9 },
      true,
    ],
    [
      'no signature, all else equal',
      known({ drive_uuid: 'u' }),
      { serial_number: 'A1B2', label: 'Photo', total_size: 1000 },
      false,
    ],
    [
      'other signature, all else equal',
      known({ drive_uuid: 'u' }),
      { drive_uuid: 'v', serial_number: 'A1B2', label: 'Photo', total_size: 1000 },
      false,
    ],
  ];
  for (const [name, identity, drive, expected] of table)
    assert.is(matchesDrive(identity, virtual('x', drive)), expected, name);
});

test('createGroup() signs both drives and records them', () =>
  paired(async ({ ctx, group, file, drives }) => {
    assert.match(group.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
    for (const [role, label] of [
      ['master', 'PhotoMaster'],
      ['backup', 'PhotoBackup'],
    ] as const) {
      const signature = need(readSignature(need(drives[label]).mount_path));
      assert.equal(
        [signature.group_id, signature.role, signature.drive_uuid],
        [group.id, role, group[`${role}_drive`].drive_uuid],
      );
    }
    const written = parse(readFileSync(file, 'utf8'));
    assert.equal(Object.keys(written), ['version', 'groups']);
    assert.equal(Object.keys(written.groups[0]), [
      'id',
      'name',
      'created',
      'modified',
      'description',
      'master_drive',
      'backup_drive',
    ]);
    assert.match(readFileSync(file, 'utf8'), /created: "2026-03-01T12:00:0\dZ"/);
    assert.is(await groupStatus(group, ctx), 'connected');
    const role = await getDriveRole(need((await listDrives(ctx)).find((drive) => drive.label === 'PhotoBackup')), ctx);
    assert.equal([role?.group.name, role?.role], ['Archive', 'backup']);
    assert.is(await getDriveRole(need(drives['Spare']), ctx), null);
  }));

test('createGroup() refuses what cannot be a pair, in the words of the reference, and leaves nothing behind', () =>
  paired(async ({ ctx, drives, file, root, plug }) => {
    const all = await plug({ PhotoMaster: 2 * TB, PhotoBackup: 2 * TB, Spare: 4 * TB, Free: TB });
    const [spare, free] = [need(all['Spare']), need(all['Free'])];
    const before = readFileSync(file, 'utf8');
    const refuses = async (message: RegExp, input: Partial<Parameters<typeof createGroup>[0]>): Promise<void> => {
      const error = await refusal(() => createGroup({ name: 'New', master: spare, backup: free, ...input }, ctx));
      assert.match(error.message, message);
      assert.is(error.code, 'invalid');
      assert.ok((error.hint ?? '').length > 10);
    };
    await refuses(/^Master and Backup cannot be the same drive/, { backup: spare });
    await refuses(/^Drive already assigned to another group: 'PhotoMaster' is the Master of 'Archive'/, {
      backup: need(drives['PhotoMaster']),
    });
    await refuses(/is not removable/, { backup: virtual('Inner', { removable: false }) });
    await refuses(/is not connected/, { backup: virtual('Away') });
    await refuses(/name of a group cannot be empty/, { name: ' \t' });
    await refuses(/already called 'Archive'/, { name: 'ARCHIVE ' });
    await refuses(/cannot be shown/, { name: 'a\u001b]0;x\u0007\nb' });
    assert.is(readFileSync(file, 'utf8'), before);
    assert.is(readSignature(spare.mount_path), null);
    writeSignature(free.mount_path, {
      ...need(readSignature(need(drives['PhotoMaster']).mount_path)),
      drive_uuid: 'foreign',
      group_id: 'elsewhere\u001b',
    });
    await refuses(
      /^Drive already assigned to another group: 'Free' .* elsewhere␛, which this computer does not know/,
      {},
    );
    writeFileSync(join(free.mount_path, '.tandem', 'drive.json'), '{');
    assert.is((await refusal(() => createGroup({ name: 'New', master: spare, backup: free }, ctx))).code, 'config');
    assert.is(readFileSync(file, 'utf8'), before);
    assert.ok(existsSync(join(root, 'Spare')));
  }));

test('checkNewGroup() says beforehand what createGroup() will, for each part of the answers, and writes nothing', () =>
  paired(async ({ ctx, drives, file, plug }) => {
    const all = await plug({ PhotoMaster: 2 * TB, PhotoBackup: 2 * TB, Spare: 4 * TB, Drive: TB, Stored: TB });
    const [spare, free, stored] = [need(all['Spare']), need(all['Drive']), need(all['Stored'])];
    mkdirSync(join(stored.mount_path, '.tandem'));
    writeFileSync(join(stored.mount_path, '.tandem', 'drive.json'), '{');
    const taken = need(drives['PhotoMaster']);
    const before = readFileSync(file, 'utf8');
    const good = { name: 'New', master: spare, backup: free };
    const cases: [keyof NewGroupCheck, Partial<typeof good>][] = [
      ['pair', { backup: spare }],
      ['backup', { backup: taken }],
      ['master', { master: taken }],
      ['backup', { backup: virtual('Inner', { removable: false }) }],
      ['master', { master: virtual('Away') }],
      ['backup', { backup: { ...free, read_only: true } }],
      ['backup', { backup: stored }],
      ['name', { name: ' \t' }],
      ['name', { name: 'archive' }],
      ['name', { name: 'a\u202eb' }],
    ];
    const checks: NewGroupCheck[] = [];
    for (const [, wrong] of cases) checks.push(await checkNewGroup({ ...good, ...wrong }, ctx));
    const empty = { master: null, backup: null, pair: null, name: null, warnings: [] };
    assert.equal(await checkNewGroup({}, ctx), empty);
    assert.equal(await checkNewGroup({ master: spare, name: 'New' }, ctx), empty);
    const { warnings, ...rest } = await checkNewGroup(good, ctx);
    assert.equal(rest, { master: null, backup: null, pair: null, name: null });
    assert.match(warnings.join(' '), /label 'Drive' is generic.*smaller than the Master/);
    assert.is(readFileSync(file, 'utf8'), before);
    for (const drive of [spare, free]) assert.not(existsSync(join(drive.mount_path, '.tandem')));
    for (const [index, [part, wrong]] of cases.entries()) {
      const error = await refusal(() => createGroup({ ...good, ...wrong }, ctx));
      assert.equal(checks[index]?.[part], { message: error.message, hint: error.hint ?? '' }, part);
    }
    assert.equal((await createGroup(good, ctx)).warnings, warnings);
  }));

test('createGroup() refuses one folder inside the other, and the same folder under two names', () =>
  home(async ({ ctx, root }) => {
    mkdirSync(join(root, 'a', 'b'), { recursive: true });
    symlinkSync(join(root, 'a'), join(root, 'link'));
    const virtualDrives = [
      ['a', 'Outer'],
      ['a/b', 'Inner'],
      ['link', 'Alias'],
    ].map(([path, label]) => ({ path: join(root, need(path)), label }));
    writeFileSync(join(ctx.configDir, 'app.yaml'), JSON.stringify({ drives: { virtual: virtualDrives } }));
    const [outer, inner, alias] = (await listDrives(ctx)).map(need);
    assert.match(
      (await refusal(() => createGroup({ name: 'n', master: need(outer), backup: need(inner) }, ctx))).message,
      /cannot lie inside each other/,
    );
    assert.match(
      (await refusal(() => createGroup({ name: 'n', master: need(inner), backup: need(outer) }, ctx))).message,
      /cannot lie inside each other/,
    );
    if (alias)
      assert.match(
        (await refusal(() => createGroup({ name: 'n', master: need(outer), backup: alias }, ctx))).message,
        /cannot be the same drive/,
      );
    assert.equal(listGroups(ctx), []);
  }));

test('checkApart() refuses two partitions of one disk and two mounts of one volume', async () => {
  const one = virtual('A');
  assert.match(
    (await refusal(() => checkApart(one, virtual('B', { device: '/dev/sdx2', device_number: '8:2' })))).message,
    /cannot be on the same disk.*\/dev\/sdx/,
  );
  assert.match(
    (await refusal(() => checkApart(one, virtual('B', { disk: '/dev/other' })))).message,
    /cannot be the same drive/,
  );
  checkApart(one, virtual('B', { device: '/dev/sdy1', disk: '/dev/sdy', device_number: '8:17' }));
  checkApart({ ...one, virtual: true }, virtual('B', { device: '/dev/sdx2' }));
});

test('createGroup() warns of equal and generic labels and of a smaller Backup', async () => {
  const drive = (
    label: string,
    total_size = 5,
    serial_number: string | null = null,
  ): Parameters<typeof pairWarnings>[0] => ({ label, total_size, serial_number });
  assert.equal(pairWarnings(drive('PhotoMaster'), drive('PhotoBackup', 6)), []);
  assert.match(pairWarnings(drive('Photo'), drive('PHOTO')).join(), /same label 'Photo'/);
  assert.match(
    pairWarnings(drive('A1', 4 * TB), drive('B1', 2 * TB)).join(),
    /Backup \(2\.00 TB\) is smaller than the Master \(4\.00 TB\)/,
  );
  assert.match(pairWarnings(drive('A1', 1, 'S'), drive('B1', 1, 'S')).join(), /report the serial number 'S'/);
  for (const label of ['USB', 'usb drive', 'MyDrive', 'Untitled', 'NO NAME', 'D:', 'E', 'New Volume', '']) {
    assert.match(pairWarnings(drive(label), drive('PhotoBackup')).join(), /is generic/, label);
  }
  for (const label of ['Video2026-M', 'Usbekistan', 'DriveThru'])
    assert.equal(pairWarnings(drive(label), drive('B1')), [], label);
});

test('createGroup() removes group and signatures when signing fails', () =>
  home(async ({ ctx, plug, file }) => {
    const drives = await plug({ One: TB, Two: TB });
    const backup = { ...need(drives['Two']), read_only: true };
    const error = await refusal(() => createGroup({ name: 'n', master: need(drives['One']), backup }, ctx));
    assert.match(error.message, /is read-only and cannot be signed/);
    assert.equal(listGroups(ctx), []);
    assert.is(readSignature(need(drives['One']).mount_path), null);
    assert.ok(existsSync(file));
  }));

test('two createGroup() of the same drives at once: one wins, the other is refused', () =>
  home(async ({ ctx, plug }) => {
    const drives = await plug({ One: TB, Two: TB });
    const make = (name: string) => createGroup({ name, master: need(drives['One']), backup: need(drives['Two']) }, ctx);
    const results = await Promise.allSettled([make('a'), make('b')]);
    assert.equal(results.map((result) => result.status).sort(), ['fulfilled', 'rejected']);
    const lost = results.find((result) => result.status === 'rejected');
    assert.match(lost?.reason.message, /already assigned to another group/);
    assert.is(listGroups(ctx).length, 1);
    assert.is(readSignature(need(drives['One']).mount_path)?.group_id, listGroups(ctx)[0]?.id);
  }));

test('status and resolve follow the flow of the reference', () =>
  paired(async ({ ctx, group, plug, root }) => {
    assert.equal(await resolveDrive('archive', ctx), { path: join(root, 'PhotoMaster'), drive: 'master' });
    assert.is(await getBackupPath('archive', ctx), join(root, 'PhotoBackup'));
    await plug({ PhotoBackup: 2 * TB });
    assert.is(await groupStatus(group, ctx), 'partial');
    assert.equal(await resolveDrive('archive', ctx, 'use-backup'), {
      path: join(root, 'PhotoBackup'),
      drive: 'backup',
    });
    const declined = await refusal(() => resolveDrive('archive', ctx, 'no-backup'));
    assert.equal([declined.exitCode, declined.code], [5, 'drive_missing']);
    assert.match(declined.message, /^No drives available for 'Archive'/);
    const unasked = await refusal(() => resolveDrive('archive', ctx));
    assert.is(unasked.exitCode, 2);
    assert.match(unasked.hint ?? '', /--use-backup or --no-backup/);
    const questions: string[] = [];
    for (const answer of [true, false]) {
      const prompts = {
        ...refusingPrompts,
        interactive: true,
        confirm: async (question: string) => {
          questions.push(question);
          return answer;
        },
      };
      const asked = createContext({ configDir: ctx.configDir, dataDir: ctx.dataDir, prompts });
      if (answer) assert.is((await resolveDrive('archive', asked)).drive, 'backup');
      else assert.is((await refusal(() => resolveDrive('archive', asked))).exitCode, 5);
    }
    assert.match(questions[0] ?? '', /Use Backup 'PhotoBackup'\?/);
    await plug({});
    assert.is(await groupStatus(group, ctx), 'disconnected');
    assert.is(await getBackupPath('archive', ctx), null);
    assert.match(
      (await refusal(() => resolveDrive('archive', ctx, 'use-backup'))).message,
      /^No drives available.*neither Master 'PhotoMaster' nor Backup 'PhotoBackup'/,
    );
  }));

test('connectPair() refuses a signature on two volumes, and names both', () =>
  paired(async ({ ctx, group, drives, plug, root }) => {
    const all = await plug({ PhotoMaster: 2 * TB, PhotoBackup: 2 * TB, Clone: 2 * TB });
    writeSignature(need(all['Clone']).mount_path, need(readSignature(need(drives['PhotoBackup']).mount_path)));
    const error = await refusal(() => connectPair(group, ctx));
    assert.equal([error.code, error.guard, error.exitCode], ['guard', 'impostor', 6]);
    assert.ok(error.message.includes(join(root, 'PhotoBackup')) && error.message.includes(join(root, 'Clone')));
    assert.is(await groupStatus(group, ctx), 'partial');
    await refusal(() => resolveDrive('archive', ctx));
  }));

test('connectPair() refuses the right signature on a volume of another size, until it is recorded anew', () =>
  paired(async ({ ctx, group, plug }) => {
    await plug({ PhotoMaster: 2 * TB, PhotoBackup: 2.1 * TB });
    assert.ok((await connectPair(group, ctx)).backup);
    const larger = await plug({ PhotoMaster: 2 * TB, PhotoBackup: 2.2 * TB });
    const error = await refusal(() => connectPair(group, ctx));
    assert.is(error.guard, 'impostor');
    assert.match(error.message, /2\.20 TB.*2\.00 TB/);
    await updateGroup('archive', { backup: need(larger['PhotoBackup']) }, ctx);
    const pair = await connectPair(getGroup('archive', ctx), ctx);
    assert.equal(
      [pair.backup?.drive_uuid, pair.group.backup_drive.total_size],
      [group.backup_drive.drive_uuid, 2.2 * TB],
    );
    assert.is(readSignature(need(pair.backup).mount_path)?.total_size, 2.2 * TB);
  }));

test('connectPair() notes a changed label under a right signature, keeping comments', () =>
  paired(async ({ ctx, group, file, root }) => {
    writeFileSync(file, `# mine\n${readFileSync(file, 'utf8')}`);
    const entries = [
      ['PhotoMaster', 'Rot\u001b[31m'],
      ['PhotoBackup', 'PhotoBackup'],
    ].map(([path, label]) => ({ path: join(root, need(path)), label }));
    writeFileSync(join(ctx.configDir, 'app.yaml'), JSON.stringify({ drives: { virtual: entries } }));
    const pair = await connectPair(group, ctx);
    assert.is(pair.group.master_drive.label, 'Rot\u001b[31m');
    assert.is(getGroup('archive', ctx).master_drive.label, 'Rot\u001b[31m');
    assert.match(readFileSync(file, 'utf8'), /^# mine\n/);
    const shown = await command.verbs['list']?.run({ args: {}, options: {} }, ctx, () => {});
    const text = need(shown).text((_style, word) => word);
    assert.ok(text.includes('Rot␛[31m') && !text.includes('\u001b'));
  }));

test('ensureSigned() signs an imported group once both drives are there', () =>
  home(async ({ ctx, file, plug }) => {
    writeFileSync(file, REFERENCE);
    await plug({ photomaster: 2 * TB });
    const half = await connectPair(getGroup('550e', ctx), ctx);
    assert.ok(half.master && !half.backup);
    assert.is((await ensureSigned(half, ctx)).group.master_drive.drive_uuid, undefined);
    assert.is(readFileSync(file, 'utf8'), REFERENCE);
    await plug({ photomaster: 2 * TB, PhotoBackup: 2_050_000_000_000 });
    const pair = await ensureSigned(await connectPair(getGroup('550e', ctx), ctx), ctx);
    assert.is(readSignature(need(pair.master).mount_path)?.drive_uuid, getGroup('550e', ctx).master_drive.drive_uuid);
    assert.equal([pair.backup?.role, pair.backup?.group_id], ['backup', pair.group.id]);
    assert.match(readFileSync(file, 'utf8'), /# the good ones[\s\S]*# the end/);
    const again = await ensureSigned(await connectPair(getGroup('550e', ctx), ctx), ctx);
    assert.equal(again.group, pair.group);
  }));

test('ensureSigned() goes on where a crash left a signed drive, and refuses one of another group or role', () =>
  home(async ({ ctx, file, plug }) => {
    writeFileSync(file, REFERENCE);
    const drives = await plug({ PhotoMaster: 2 * TB, PhotoBackup: 2 * TB, X: TB, Y: TB });
    await createGroup({ name: 'Donor', master: need(drives['X']), backup: need(drives['Y']) }, ctx);
    const donor = need(readSignature(need(drives['X']).mount_path));
    const root = need(drives['PhotoMaster']).mount_path;
    const sign = (change: object): void => writeSignature(root, { ...donor, drive_uuid: 'mine', ...change });
    const run = async () => ensureSigned(await connectPair(getGroup('550e', ctx), ctx), ctx);
    sign({});
    assert.match((await refusal(run)).message, /already assigned to another group/);
    sign({ group_id: getGroup('550e', ctx).id, role: 'backup' });
    assert.match((await refusal(run)).message, /is signed as the Backup of 'Photo Archive 2026'/);
    assert.is(readSignature(need(drives['PhotoBackup']).mount_path), null);
    sign({ group_id: getGroup('550e', ctx).id, label: 'PhotoMaster', total_size: 2 * TB });
    assert.is((await run()).group.master_drive.drive_uuid, 'mine');
  }));

test('connectPair() does not guess when two drives fit an unsigned identity', () =>
  home(async ({ ctx, file }) => {
    writeFileSync(file, REFERENCE);
    const fit = (label: string, n: number, serial_number: string | null): DriveInfo =>
      virtual(label, { serial_number, total_size: 2 * TB, mount_path: `/m${n}`, device: `/dev/sd${n}` });
    const group = getGroup('550e', ctx);
    const twins = [fit('PhotoBackup', 1, null), fit('photobackup', 2, null)];
    assert.match((await refusal(() => connectPair(group, ctx, twins))).message, /\/m1.*\/m2/);
    const dock = [fit('Other', 1, '1234567890ABC'), fit('PhotoMaster', 2, '1234567890ABC')];
    assert.is(
      (await connectPair(group, ctx, dock)).master?.mount_path,
      '/m2',
      'one serial for two volumes: label and size tell',
    );
    writeFileSync(file, REFERENCE.replace('"1234567890ABC"', 'null').replace('PhotoMaster', 'PhotoBackup'));
    assert.match(
      (await refusal(() => connectPair(getGroup('550e', ctx), ctx, twins.slice(0, 1)))).message,
      /fits both Master and Backup/,
    );
  }));

// Changes.

test('updateGroup() exchanges a drive: the new one is signed, the old one freed', () =>
  paired(async ({ ctx, group, drives }) => {
    const { group: updated, warnings } = await updateGroup(
      'archive',
      { name: 'Archive 2', backup: need(drives['Spare']) },
      ctx,
    );
    assert.equal([updated.name, updated.backup_drive.label, warnings], ['Archive 2', 'Spare', []]);
    assert.is(readSignature(need(drives['Spare']).mount_path)?.group_id, group.id);
    assert.is(readSignature(need(drives['PhotoBackup']).mount_path), null);
    assert.is(await groupStatus(updated, ctx), 'connected');
  }));

test('updateGroup() refuses the same rules as createGroup()', () =>
  paired(async ({ ctx, group, drives, plug, file }) => {
    const all = await plug({ PhotoMaster: 2 * TB, PhotoBackup: 2 * TB, Spare: 4 * TB, Other: TB });
    await createGroup({ name: 'Second', master: need(all['Spare']), backup: need(all['Other']) }, ctx);
    const before = readFileSync(file, 'utf8');
    const refuses = async (message: RegExp, changes: Parameters<typeof updateGroup>[1]): Promise<void> => {
      assert.match((await refusal(() => updateGroup('archive', changes, ctx))).message, message);
    };
    await refuses(/already called 'Second'/, { name: 'second' });
    await refuses(/cannot be empty/, { name: '' });
    await refuses(/cannot be the same drive/, { backup: need(drives['PhotoMaster']) });
    await refuses(/already assigned to another group: 'Spare' is the Master of 'Second'/, {
      master: need(all['Spare']),
    });
    await refuses(/is signed as the Backup of 'Archive' and cannot become its Master/, {
      master: need(drives['PhotoBackup']),
      backup: need(drives['PhotoMaster']),
    });
    assert.is(readFileSync(file, 'utf8'), before);
    assert.is(readSignature(need(drives['PhotoMaster']).mount_path)?.role, 'master');
    assert.is(
      (await updateGroup('archive', { name: 'ARCHIVE' }, ctx)).group.id,
      group.id,
      'its own name in another case',
    );
  }));

test('deleteGroup() removes the relationship and the signatures, never a file', () =>
  paired(async ({ ctx, group, plug, root, file }) => {
    writeFileSync(join(root, 'PhotoMaster', 'photo.raw'), 'x');
    await plug({ PhotoMaster: 2 * TB });
    const result = await deleteGroup(group.id.slice(0, 8), ctx);
    assert.equal([result.freed, result.signed], [['PhotoMaster'], ['PhotoBackup']]);
    assert.equal(listGroups(ctx), []);
    assert.is(readSignature(join(root, 'PhotoMaster')), null);
    assert.ok(readSignature(join(root, 'PhotoBackup')));
    assert.is(readFileSync(join(root, 'PhotoMaster', 'photo.raw'), 'utf8'), 'x');
    assert.match(readFileSync(file, 'utf8'), /version: 1/);
  }));

test('deleteGroup() that cannot write the file leaves the drives signed', () =>
  paired(async ({ ctx, drives, file }) => {
    const text = readFileSync(file, 'utf8');
    writeFileSync(
      file,
      text
        .replace('drive_uuid', 'drive_uuid: &u')
        .replace(/&u: ("[^"]+")/, '&u $1')
        .replace('description:', 'seal: *u\n    description:'),
    );
    const error = await refusal(() => deleteGroup('archive', ctx));
    assert.is(error.code, 'config');
    assert.ok(readSignature(need(drives['PhotoMaster']).mount_path));
  }));

test('setGroupOptions() checks keys and values, and KEY= goes back to the default', () =>
  paired(async ({ ctx, file }) => {
    const set = (...assignments: string[]) => setGroupOptions('archive', assignments, undefined, ctx);
    await set(
      'verify_checksums=true',
      'filters.exclude=*.tmp, cache/',
      'filters.min_size=10kB',
      'filters.max_age=90d',
      'filters.preset=editing',
      'max_parallel_files=16',
      'incremental=no',
    );
    const group = getGroup('archive', ctx);
    assert.equal(group.options, {
      verify_checksums: 'checksum',
      incremental: false,
      max_parallel_files: 16,
      filters: { exclude: ['*.tmp', 'cache/'], min_size: 10_000, max_age: 7_776_000, preset: 'editing' },
    });
    assert.equal(parse(readFileSync(file, 'utf8')).groups[0].options.filters.exclude, ['*.tmp', 'cache/']);
    assert.is(resolveOptions(group).filters.max_size, null);
    const { changed } = await set(
      'verify_checksums=',
      'filters.exclude=',
      'filters.min_size=',
      'filters.max_age=',
      'filters.preset=',
      'max_parallel_files=',
    );
    assert.equal(changed['verify_checksums'], 'none');
    assert.equal(getGroup('archive', ctx).options.incremental, false);
    assert.equal(resolveOptions(getGroup('archive', ctx)).filters, {
      exclude: [],
      include: [],
      min_size: null,
      max_size: null,
      max_age: null,
      preset: 'os-junk',
    });
    const before = readFileSync(file, 'utf8');
    const cases: [string, string, RegExp][] = [
      ['incremantal=true', 'usage', /is not known/],
      ['exclude=x', 'usage', /is not known/],
      ['constructor=x', 'usage', /is not known/],
      ['incremental=constructor', 'invalid', /must be true or false/],
      ['realtime.debounce_seconds=61', 'invalid', /seconds from 0\.1 to 60/],
      ['compression_level=10', 'invalid', /must be from 1 to 9 with gzip; 10 is not/],
      ['compression_level=0', 'invalid', /a number from 1 to 9, with lz4 to 12; '0' is not/],
      ['compression_level=1.5', 'invalid', /a number from 1 to 9/],
      ['compression_type=zip', 'invalid', /one of gzip, lz4/],
      ['encryption_type=aes-128-gcm', 'invalid', /one of aes-256-gcm/],
      ['encryption_key_file=key', 'invalid', /absolute or from ~\/; what was given is not/],
      ['password=hunter2', 'usage', /'password' is not available: a secret is never kept/],
      ['conflict_policy.deleted_master=mine', 'invalid', /one of ask, master, backup, both, newest, largest/],
      ['conflict_policy.nothing=ask', 'usage', /is not known/],
      ['versions.max_share=120%', 'invalid', /a share of the drive/],
      ['incremental', 'usage', /is not KEY=VALUE/],
      ['=x', 'usage', /is not KEY=VALUE/],
      ['max_parallel_files=17', 'invalid', /number from 2 to 16; '17' is not/],
      ['checksum_algorithm=md5', 'invalid', /one of sha256, xxh128, blake2b512/],
      ['filters.preset=../../etc', 'invalid', /config\/ignore/],
      ['filters.min_size=-1', 'invalid', /must be a size/],
    ];
    for (const [text, code, message] of cases) {
      const error = await refusal(() => set('skip_existing=true', text));
      assert.is(error.code, code, text);
      assert.match(error.message, message);
    }
    assert.match((await refusal(() => set('incremantal=true'))).hint ?? '', /Did you mean 'incremental'/);
    assert.match((await refusal(() => set('exclude=x'))).hint ?? '', /Did you mean 'filters\.exclude'/);
    assert.is(readFileSync(file, 'utf8'), before);
  }));

test('a level goes with its kind of compression; a password file stands alone; presets mind what was set', () =>
  paired(async ({ ctx }) => {
    const set = (...assignments: string[]) => setGroupOptions('archive', assignments, undefined, ctx);
    await set('compression_type=lz4', 'compression_level=12', 'enable_compression=true');
    const kept = getGroup('archive', ctx).options;
    for (const words of [['compression_type=gzip'], ['compression_type=']])
      assert.match((await refusal(() => set(...words))).message, /from 1 to 9 with gzip; 12 is not/);
    assert.equal(getGroup('archive', ctx).options, kept);
    await set('compression_type=', 'compression_level=');
    await set('encryption_password_file=/run/secrets/archive');
    const both = await refusal(() => set('encryption_key_file=~/archive.key'));
    assert.equal([both.code, /stands beside encryption_key_file/.test(both.message)], ['invalid', true]);
    await set('encryption_key_file=~/archive.key', 'encryption_password_file=');
    assert.is(resolveOptions(getGroup('archive', ctx)).encryption_key_file, '~/archive.key');
  }));

test('a password in the file of groups is refused and not repeated, wherever it stands in a group', () =>
  home(async ({ ctx, file }) => {
    const cases: [string, RegExp][] = [
      ['    options: { password: hunter2 }\n', /:19:26: groups\.0\.options\.password: .*encryption_password_file/],
      ['    options:\n      encryption_password: hunter2\n', /:20:28: .*encryption_password: .*a secret is never kept/],
      ['    options: { passphrase: hunter2 }\n', /:19:28: .*passphrase: .*a secret is never kept/],
      ['    options: { encryption_key: hunter2 }\n', /:19:32: .*encryption_key: .*a secret is never kept/],
      ['    options: { encryption_password_file: hunter2 }\n', /:19:42: .*must be the path of a file/],
      ['    password: hunter2\n', /:19:15: groups\.0\.password: is a secret/],
    ];
    for (const [text, message] of cases) {
      writeFileSync(file, REFERENCE + text);
      const error = await refusal(() => listGroups(ctx));
      assert.is(error.code, 'config');
      assert.match(error.message, message);
      assert.not.match(`${error.message} ${error.hint}`, /hunter2/);
    }
  }));

test('presets set what this version has and say what comes later', () =>
  paired(async ({ ctx }) => {
    const expected = {
      ssd: [{ enable_parallel_copy: true, max_parallel_files: 8, incremental: true }, 0],
      hdd: [{ enable_parallel_copy: false, incremental: true, enable_compression: false }, 0],
      nas: [
        {
          enable_parallel_copy: true,
          max_parallel_files: 4,
          enable_bandwidth_limit: true,
          bandwidth_limit_mbps: 10,
          enable_compression: true,
        },
        0,
      ],
      editing: [{ incremental: true, enable_compression: false, 'realtime.debounce_seconds': 0.3 }, 0],
      archive: [{ incremental: false, enable_compression: true, compression_level: 9, enable_encryption: true }, 0],
    };
    for (const [name, [values, later]] of Object.entries(expected)) {
      const result = await setGroupOptions('archive', [], name, ctx);
      assert.equal([result.changed, result.later.length], [values, later]);
    }
    const mixed = await setGroupOptions('archive', ['max_parallel_files=2'], 'ssd', ctx);
    assert.is(mixed.group.options.max_parallel_files, 2);
    const error = await refusal(() => setGroupOptions('archive', [], 'sdd', ctx));
    assert.match(error.hint ?? '', /Did you mean 'ssd'/);
  }));

test('the defaults are those of the option table', () => {
  const options = resolveOptions({ options: {} } as Group);
  assert.equal(options, {
    incremental: true,
    skip_existing: false,
    verify_checksums: 'none',
    checksum_algorithm: 'sha256',
    on_master_delete: 'ask',
    on_backup_delete: 'restore',
    mhl: false,
    filters: { exclude: [], include: [], min_size: null, max_size: null, max_age: null, preset: 'os-junk' },
    versions: { enabled: true, max_age: 7_776_000, max_share: 20 },
    conflict_policy: {
      modified_both: 'ask',
      modified_backup: 'ask',
      deleted_master: 'ask',
      deleted_backup: 'ask',
      size_mismatch: 'ask',
      new_backup: 'ask',
    },
    enable_bandwidth_limit: false,
    bandwidth_limit_mbps: 10,
    bandwidth_timetable: null,
    enable_parallel_copy: true,
    max_parallel_files: 'auto',
    enable_compression: false,
    compression_type: 'gzip',
    compression_level: 6,
    enable_encryption: false,
    encryption_type: 'aes-256-gcm',
    encryption_key_file: null,
    encryption_password_file: null,
    calculate_space_savings: true,
    realtime: { debounce_seconds: 0.5, full_scan_every: 3600 },
  });
  options.filters.exclude.push('x');
  assert.equal(resolveOptions({ options: {} } as Group).filters.exclude, []);
});

// The face.

test('the wizard asks for Master, Backup, name and description, and offers each drive once', () => {
  const asked: string[] = [];
  const prompts: Partial<Prompts> = {
    interactive: true,
    choose: async (question, rows) => {
      asked.push(`${question} ${rows.length}`);
      return 0;
    },
    input: async (question) => {
      asked.push(question);
      return question.startsWith('Name') ? 'Wizard' : 'notes';
    },
  };
  return home(async ({ ctx, plug }) => {
    const create = () => need(command.verbs['create']).run({ args: {}, options: {} }, ctx, () => {});
    assert.is((await refusal(create)).exitCode, 5);
    await plug({ PhotoMaster: TB, PhotoBackup: TB });
    const output = await create();
    assert.equal(asked, [
      'Step 1 of 2: which drive is the Master? 2',
      'Step 2 of 2: which drive is the Backup? 1',
      'Name of the group:',
      'Description (may stay empty):',
    ]);
    assert.equal((need(output).json as { warnings: string[] }).warnings, []);
    assert.equal(
      [getGroup('wizard', ctx).master_drive.label, getGroup('wizard', ctx).description],
      ['PhotoMaster', 'notes'],
    );
  }, prompts);
});

test('without a terminal the missing flag is named', () =>
  home(async ({ ctx, plug }) => {
    await plug({ A: TB, B: TB });
    const create = (args: object, options: object) =>
      refusal(() => need(command.verbs['create']).run({ args, options }, ctx, () => {}));
    assert.match((await create({ name: 'x' }, { master: 'A' })).hint ?? '', /--backup DRIVE/);
    assert.match((await create({}, { master: 'A', backup: 'B' })).hint ?? '', /NAME/);
    assert.is((await create({ name: 'x' }, { master: 'A', backup: 'Q' })).code, 'not_found');
  }));

test('groups list --json has the documented shape, the table the documented words', () =>
  paired(async ({ ctx, plug, root }) => {
    await plug({ PhotoMaster: 2 * TB });
    const output = need(await need(command.verbs['list']).run({ args: {}, options: {} }, ctx, () => {}));
    const [row] = output.json as Record<string, unknown>[];
    assert.equal(Object.keys(row ?? {}), [
      'id',
      'name',
      'description',
      'created',
      'modified',
      'status',
      'master_drive',
      'backup_drive',
    ]);
    assert.is(row?.['status'], 'partial');
    const { drive_uuid, ...master } = need(row)['master_drive'] as Record<string, unknown>;
    assert.equal(master, {
      serial_number: null,
      label: 'PhotoMaster',
      total_size: 2 * TB,
      connected: true,
      mount_path: join(root, 'PhotoMaster'),
    });
    assert.match(String(drive_uuid), /^[0-9a-f-]{36}$/);
    assert.equal((need(row)['backup_drive'] as Record<string, unknown>)['mount_path'], null);
    assert.match(
      output.text((_style, text) => text),
      /Archive +⚠ Partial +PhotoMaster +PhotoBackup \(away\)/,
    );
    assert.is((await panel.rows(ctx)).length, 1);
    for (const [state, words] of [
      [{}, '✗ Disconnected'],
      [{ PhotoMaster: 2 * TB, PhotoBackup: 2 * TB }, '✓ Both Connected'],
    ] as const) {
      await plug(state);
      const status = need(
        await need(command.verbs['status']).run({ args: { group: 'Archive' }, options: {} }, ctx, () => {}),
      );
      assert.ok(status.text((_style, text) => text).includes(words));
    }
  }));

test('groups list goes on and warns when one pair is in doubt', () =>
  paired(async ({ ctx, drives, plug, events }) => {
    const all = await plug({ PhotoMaster: 2 * TB, PhotoBackup: 2 * TB, Clone: 2 * TB });
    writeSignature(need(all['Clone']).mount_path, need(readSignature(need(drives['PhotoBackup']).mount_path)));
    const output = await need(command.verbs['list']).run({ args: {}, options: {} }, ctx, () => {});
    assert.is((need(output).json as { status: string }[])[0]?.status, 'partial');
    assert.ok(events.some((event) => event.kind === 'warning' && event.message.includes('Clone')));
  }));

let asked = '';

test('groups delete asks, names who uses it, and No changes nothing', () =>
  paired(
    async ({ ctx, group }) => {
      await createProject({ name: 'Wedding', path: 'Wedding', group: group.id }, ctx);
      await ensureWatcher({ target: 'Archive', group_id: group.id, project_id: '', role: '', subpath: '' }, ctx);
      assert.equal(await groupUses(group.id, ctx), { projects: ['Wedding'], schedules: [], watchers: ['Archive'] });
      assert.equal(await groupUses('other', ctx), { projects: [], schedules: [], watchers: [] });
      const error = await refusal(() =>
        need(command.verbs['delete']).run({ args: { group: 'archive' }, options: {} }, ctx, () => {}),
      );
      assert.is(error.exitCode, 130);
      assert.is(listGroups(ctx).length, 1);
      assert.match(asked, /files are NOT deleted. Projects that lie on it: 'Wedding'. Watchers .* 'Archive'\.$/);
    },
    {
      interactive: true,
      confirm: async (question) => {
        asked = question;
        return false;
      },
    },
  ));

test('optionProblems() says key by key what would be refused, and each option has its sentence', () => {
  const problems = (words: string[], preset?: string, owner: 'group' | 'project' = 'group') =>
    optionProblems(words, preset, owner, {});
  assert.equal(problems([]), {});
  assert.equal(problems(['verify_checksums=size', 'filters.exclude=']), {});
  assert.equal(Object.keys(problems(['verify_checksums=x', 'bandwidth_limit_mbps=-1', 'no.such=1', 'mhl=true'])), [
    'verify_checksums',
    'bandwidth_limit_mbps',
    'no.such',
  ]);
  assert.match(problems(['compression_level=12'])['compression_level'] ?? '', /from 1 to 9 with gzip/);
  assert.match(problems(['incremental=true'], 'none of them')['preset'] ?? '', /no preset/);
  assert.match(problems(['enable_compression=true'], undefined, 'project')['enable_compression'] ?? '', /group/);
  const keys = OPTION_GROUPS.flatMap(({ notes }) => Object.keys(notes));
  assert.equal([...keys].sort(), Object.keys(OPTIONS).sort());
});

test('the example and the schemas in config/ agree with what is read', () =>
  home(async ({ ctx, file }) => {
    writeFileSync(file, readFileSync(join(PACKAGE_CONFIG, 'storage_groups.example.yaml')));
    assert.is(getGroup('Photo Archive 2026', ctx).options.verify_checksums, 'size');
    const schema = JSON.parse(readFileSync(join(PACKAGE_CONFIG, 'storage_groups.schema.json'), 'utf8'));
    const { filters, versions, realtime, conflict_policy: policy, ...rest } = schema.$defs.options.properties;
    const keys = [
      ...Object.keys(rest),
      ...Object.keys(filters.properties).map((key) => `filters.${key}`),
      ...Object.keys(versions.properties).map((key) => `versions.${key}`),
      ...Object.keys(realtime.properties).map((key) => `realtime.${key}`),
      ...Object.keys(policy.properties).map((key) => `conflict_policy.${key}`),
    ];
    assert.equal(keys.sort(), Object.keys(OPTIONS).sort());
    const app = JSON.parse(readFileSync(join(PACKAGE_CONFIG, 'app.schema.json'), 'utf8'));
    const defaults = parse(readFileSync(join(PACKAGE_CONFIG, 'app.yaml'), 'utf8')) as Record<string, object>;
    for (const [section, value] of Object.entries(defaults)) {
      assert.ok(section in app.properties, section);
      for (const key of Object.keys(Object(value)))
        assert.ok(key in app.properties[section].properties, `${section}.${key}`);
    }
  }));

test.run();
