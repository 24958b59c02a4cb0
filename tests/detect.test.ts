import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as detect from '../features/detect.ts';
import { removeVirtualDrive } from '../features/virtual.ts';
import {
  type Context,
  type ContextOptions,
  createContext,
  type RunResult,
  refusingPrompts,
} from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { renderTable } from '../shared/feature.ts';
import { thisProcess } from '../shared/machine.ts';
import * as platform from '../shared/platform.ts';

const test = suite('detect');
const fixture = (name: string): string =>
  fs.readFileSync(new URL(`./fixtures/detect/${name}`, import.meta.url), 'utf8');
const base = fs.mkdtempSync(join(tmpdir(), 'tandem-detect-'));
let count = 0;

test.after(() => fs.rmSync(base, { recursive: true, force: true }));

function folder(name = 'dir'): string {
  count += 1;
  const path = join(base, String(count), name);
  fs.mkdirSync(path, { recursive: true });
  return path;
}

/** A context with this app.yaml; programs may not be started unless `exec` says how. */
function contextWith(yaml: string, options: ContextOptions = {}): Context {
  const configDir = folder('config');
  fs.writeFileSync(join(configDir, 'app.yaml'), yaml);
  const exec = (file: string): Promise<RunResult> => Promise.reject(new Error(`started ${file}`));
  return createContext({ configDir, dataDir: join(configDir, 'data'), exec, ...options });
}

const virtualYaml = (...paths: string[]): string =>
  `drives:\n  virtual:\n${paths.map((path, index) => `    - { path: ${JSON.stringify(path)}, label: V${index} }\n`).join('')}`;

function thrown(action: () => unknown): TandemError {
  try {
    action();
  } catch (error) {
    if (error instanceof TandemError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

async function rejected(promise: Promise<unknown>): Promise<TandemError> {
  const error = await promise.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (error instanceof TandemError) return error;
  throw error;
}

const traits = detect.defaultTraits('ext4');
const signature = (changes: Partial<detect.Signature> = {}): detect.Signature => ({
  tandem_version: '0.1.0',
  drive_uuid: '0b9c5c1e-7d0e-4c0b-9f0a-3f1d2c4b5a69',
  group_id: '550e8400-e29b-41d4-a716-446655440000',
  role: 'master',
  label: 'Pho\u001bto',
  serial_number: null,
  total_size: 1000,
  created_at: '2026-01-12T10:00:00Z',
  traits,
  ...changes,
});

const drive = (changes: Partial<detect.DriveInfo> = {}): detect.DriveInfo => ({
  device: '/dev/sdx1',
  mount_path: '/media/x',
  label: 'X',
  serial_number: null,
  fs_uuid: null,
  drive_uuid: null,
  filesystem: 'ext4',
  total_size: 1000,
  free_size: 500,
  removable: true,
  virtual: false,
  transport: null,
  rotational: null,
  group_id: null,
  role: null,
  read_only: false,
  network: false,
  disk: '/dev/sdx',
  device_number: '8:1',
  ...changes,
});

test('mountinfo: escapes, optional fields, read-only by mount or by filesystem, broken lines', () => {
  const mounts = platform.parseMountInfo(fs.readFileSync(new URL('./fixtures/detect/mountinfo.txt', import.meta.url)));
  assert.is(mounts.length, 11);
  const at = (path: string) => mounts.filter((mount) => mount.mount_path === path);
  assert.equal(at('/media/ada/Photo Master')[0], {
    device_number: '8:17',
    root: '/',
    mount_path: '/media/ada/Photo Master',
    nameable: true,
    read_only: false,
    filesystem: 'exfat',
    source: '/dev/sdb1',
  });
  assert.is(at('/media/ada/a\tb\nc\\d')[0]?.read_only, true);
  assert.is(at('/srv/bind')[0]?.root, '/Projects');
  assert.equal(
    at('/mnt/stack').map((mount) => mount.read_only),
    [false, true],
  );
});

test('mountinfo: a path that is not UTF-8 is told apart, one in UTF-8 is decoded', () => {
  const line = (path: Buffer): Buffer =>
    Buffer.concat([Buffer.from('1 2 8:1 / /m/'), path, Buffer.from(' rw - ext4 /dev/sda1 rw\n')]);
  const mounts = platform.parseMountInfo(Buffer.concat([line(Buffer.from([0xff, 0xfe])), line(Buffer.from('äß'))]));
  assert.equal(
    mounts.map((mount) => mount.nameable),
    [false, true],
  );
  assert.is(mounts[1]?.mount_path, '/m/äß');
});

test('mountOf takes the longest mount above, of equal ones the last, and no mere name prefix', () => {
  const mounts = platform.parseMountInfo(Buffer.from(fixture('mountinfo.txt')));
  assert.is(platform.mountOf('/mnt/nas/a', mounts)?.filesystem, 'nfs4');
  assert.is(platform.mountOf('/mnt/nas/sub/a', mounts)?.filesystem, 'fuse.sshfs');
  assert.is(platform.mountOf('/mnt/nasty', mounts)?.mount_path, '/');
  assert.is(platform.mountOf('/mnt/stack', mounts)?.filesystem, 'ext4');
});

test('lsblk: partitions and mapped devices inherit serial, transport and removability from their disk', () => {
  const facts = platform.parseLsblk(fixture('lsblk.json'));
  assert.equal(facts?.get('8:17'), {
    label: 'Photo\u001bMaster "1"',
    fs_uuid: '65F1-2A0B',
    filesystem: 'exfat',
    serial_number: 'WXG1A2345678',
    transport: 'usb',
    rotational: true,
    removable: true,
  });
  assert.is(facts?.get('254:2')?.serial_number, 'S4EVNF0M123456X');
  assert.is(facts?.get('254:2')?.removable, false);
  assert.is(facts?.get('179:0')?.removable, true);
});

test('lsblk of older versions writes "1" and pads; a placeholder serial is none', () => {
  const stick = platform.parseLsblk(fixture('lsblk.json'))?.get('8:32');
  assert.is(stick?.removable, true);
  assert.is(stick?.rotational, true);
  assert.is(stick?.filesystem, 'vfat');
  assert.is(stick?.serial_number, null);
});

test('lsblk: text that is not its document is undefined', () => {
  for (const text of ['', '{', '[]', '{"blockdevices": 3}', 'null']) assert.is(platform.parseLsblk(text), undefined);
});

test('blkid: bytes of a hostile label come back as they were', () => {
  const found = platform.parseBlkid(fixture('blkid.txt'));
  assert.is(found.label, 'Pho\u001b\n"ä ß');
  assert.is(found.fs_uuid, '580c276a-0bd0-44ac-af4a-7f04bdf20589');
  assert.is(found.filesystem, 'ext4');
  assert.equal(platform.parseBlkid(''), { label: null, fs_uuid: null, filesystem: null });
});

test('findmnt --poll: action and target, with escaped newlines and quotes', () => {
  const line = 'ACTION="umount" TARGET="/m/a\\x0ab \\x22c" SOURCE="/dev/loop1"';
  assert.equal(platform.parseMountEvent(line), { action: 'umount', mount_path: '/m/a\nb "c' });
  assert.is(platform.parseMountEvent('something else'), undefined);
});

test('usableSerial: placeholders are none, real ones are trimmed and kept', () => {
  const placeholders = [
    '',
    '  ',
    'None',
    'null',
    '00000000',
    '0x00000000',
    'FFFFFFFF',
    '0123456789',
    '0123456789ABCDEF',
    '012345678901',
  ];
  for (const text of [
    ...placeholders,
    '123456789012',
    '0000_0000_0000_0000.',
    'To Be Filled By O.E.M.',
    null,
    undefined,
  ]) {
    assert.is(platform.usableSerial(text), null, String(text));
  }
  for (const text of ['1234567890ABC', '9876543210XYZ', 'WXG1A2345678', '12345'])
    assert.is(platform.usableSerial(` ${text}\n`), text);
});

test('isAllowed: true, patterns over device, label and mount path, no accidental regular expression', () => {
  const volume = { device: '/dev/sdb1', label: 'Dock (1)\nx', mount_path: '/mnt/a.b' };
  const yes: (boolean | string[])[] = [true, ['/dev/sdb*'], ['Dock (1)*'], ['*x'], ['/mnt/a.b'], ['nothing', '*']];
  const no: (boolean | string[])[] = [
    false,
    [],
    ['/dev/sdc*'],
    ['Dock'],
    ['/mnt/a?b'],
    ['/mnt/aXb'],
    ['/mnt/a'],
    ['.*'],
  ];
  for (const allow of yes) assert.is(platform.isAllowed(volume, allow), true, JSON.stringify(allow));
  for (const allow of no) assert.is(platform.isAllowed(volume, allow), false, JSON.stringify(allow));
});

/** A sysfs of links: USB disk with a partition, internal disk, LUKS on the USB disk, RAID over both, external PCI disk. */
function fakeSys(): string {
  const sys = folder('sys');
  const make = (path: string, files: Record<string, string> = {}): string => {
    fs.mkdirSync(join(sys, path), { recursive: true });
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(join(sys, path, name), `${text}\n`);
    return join(sys, path);
  };
  const link = (target: string, path: string): void => {
    fs.mkdirSync(join(sys, path, '..'), { recursive: true });
    fs.symlinkSync(target, join(sys, path));
  };
  make('bus/usb');
  make('bus/nvme');
  const port = make('devices/pci0/usb1/1-2');
  fs.symlinkSync(join(sys, 'bus/usb'), join(port, 'subsystem'));
  const usb = make('devices/pci0/usb1/1-2/host1/block/sdb', { removable: '0' });
  const part = make('devices/pci0/usb1/1-2/host1/block/sdb/sdb1', { partition: '1' });
  const sda = make('devices/pci0/ata1/block/sda', { removable: '0' });
  make('devices/pci1/tb', { removable: 'removable' });
  const external = make('devices/pci1/tb/nvme/nvme1/nvme1n1', { removable: '0' });
  fs.symlinkSync(join(sys, 'bus/nvme'), join(external, '..', 'subsystem'));
  const luks = make('devices/virtual/block/dm-0');
  make('devices/virtual/block/dm-0/slaves');
  fs.symlinkSync(part, join(luks, 'slaves/sdb1'));
  const raid = make('devices/virtual/block/md0');
  make('devices/virtual/block/md0/slaves');
  fs.symlinkSync(part, join(raid, 'slaves/sdb1'));
  fs.symlinkSync(sda, join(raid, 'slaves/sda'));
  link(part, 'class/block/sdb1');
  link(sda, 'class/block/sda');
  const numbers = { '8:16': usb, '8:17': part, '8:0': sda, '254:0': luks, '9:0': raid, '259:1': external };
  for (const [number, target] of Object.entries(numbers)) link(target, `dev/block/${number}`);
  link(make('devices/virtual/block/loop3'), 'dev/block/7:3');
  return sys;
}

test('sysfs: removability and transport come from the disk, through partitions, LUKS and RAID', () => {
  const sys = fakeSys();
  const read = (number: string) => platform.readBlockDevice(number, sys);
  assert.equal(read('8:17'), { name: 'sdb1', disks: ['/dev/sdb'], removable: true, transport: 'usb', loop: false });
  assert.equal(read('8:0'), { name: 'sda', disks: ['/dev/sda'], removable: false, transport: null, loop: false });
  assert.equal(read('254:0')?.disks, ['/dev/sdb']);
  assert.is(read('254:0')?.removable, true);
  assert.equal(read('9:0')?.disks, ['/dev/sda', '/dev/sdb']);
  assert.is(read('9:0')?.removable, false);
  assert.is(read('259:1')?.removable, true);
  assert.is(read('259:1')?.transport, 'nvme');
  assert.is(read('7:3')?.loop, true);
});

test('sysfs: a device that was pulled, and a number that is none, are undefined', () => {
  assert.is(platform.readBlockDevice('8:99', fakeSys()), undefined);
  assert.is(platform.readBlockDevice('../../etc', fakeSys()), undefined);
});

test('diskutil: mounted volumes of partitions, APFS containers and whole disks', () => {
  assert.equal(platform.parseDiskutilList(fixture('diskutil-list.plist')), ['disk3s1s1', 'disk4s1', 'disk5']);
  assert.equal(platform.parseDiskutilList('no plist'), []);
});

test('diskutil info: USB exFAT, external APFS on its physical disk, the system volume', () => {
  assert.equal(platform.parseDiskutilInfo(fixture('diskutil-info-exfat.plist')), {
    device: '/dev/disk4s1',
    disk: '/dev/disk4',
    mount_path: '/Volumes/Photo & Film',
    label: 'Photo & Film 📷',
    serial_number: null,
    fs_uuid: '8D3E2C1B-52B4-3B44-9F6E-0A0D5A2B6C11',
    filesystem: 'exfat',
    total_size: 2_000_330_358_784,
    free_size: 1_200_000_000_000,
    removable: true,
    transport: 'usb',
    rotational: true,
    read_only: false,
    restricted: false,
  });
  const apfs = platform.parseDiskutilInfo(fixture('diskutil-info-apfs.plist'));
  assert.is(apfs?.disk, '/dev/disk6');
  assert.is(apfs?.free_size, 700_000_000_000);
  assert.is(apfs?.read_only, true);
  const system = platform.parseDiskutilInfo(fixture('diskutil-info-system.plist'));
  assert.is(system?.removable, false);
  assert.is(system?.restricted, true);
  assert.is(platform.parseDiskutilInfo(''), undefined);
});

test('macOS mount: network shares and read-only volumes', () => {
  const mounts = platform.parseMacMounts(fixture('mac-mount.txt'));
  assert.is(mounts.length, 4);
  assert.is(mounts[0]?.read_only, true);
  const share = platform.mountOf('/Volumes/photos/2026', mounts);
  assert.is(platform.isNetworkFilesystem(platform.filesystemName(share?.filesystem ?? '')), true);
});

test('Windows: letters, bus as name or number, system and read-only disks, one object instead of a list', () => {
  const volumes = platform.parseWindowsVolumes(`\ufeff${fixture('windows.json')}`);
  assert.equal(
    volumes.map((volume) => volume.mount_path),
    ['C:\\', 'E:\\', 'F:\\'],
  );
  const [system, usb, card] = volumes;
  assert.is(system?.restricted, true);
  assert.is(system?.removable, false);
  assert.is(system?.label, 'C:');
  assert.is(usb?.label, 'PhotoMäster');
  assert.is(usb?.serial_number, 'WXG1A2345678');
  assert.is(usb?.removable, true);
  assert.is(usb?.disk, '\\\\.\\PHYSICALDRIVE1');
  assert.is(usb?.fs_uuid, '22222222-2e5b-4c0f-8a0b-0a1b2c3d4e5f');
  assert.is(card?.serial_number, null);
  assert.is(card?.transport, 'usb');
  assert.is(card?.read_only, true);
  assert.is(card?.filesystem, 'vfat');
  assert.is(platform.parseWindowsVolumes(fixture('windows-single.json'))[0]?.mount_path, 'G:\\');
  for (const text of ['', 'null', '{}', '{"volumes":{}}']) assert.equal(platform.parseWindowsVolumes(text), []);
});

test('Windows: what PowerShell 5 writes: single objects, wrapped lists, nulls, buses as numbers', () => {
  const guid = '22222222-2e5b-4c0f-8a0b-0a1b2c3d4e5f';
  const path = `\\\\?\\Volume{${guid}}\\`;
  const volume = { Path: path, UniqueId: null, FileSystemLabel: null, FileSystem: null, DriveType: 2, Size: null };
  const partition = {
    DiskNumber: 3,
    PartitionNumber: 1,
    IsReadOnly: null,
    AccessPaths: { value: ['H:\\', path], Count: 2 },
  };
  const disk = { Number: 3, SerialNumber: null, BusType: 7, IsBoot: null, IsSystem: null, IsReadOnly: null };
  const read = (change: object) =>
    platform.parseWindowsVolumes(JSON.stringify({ disks: disk, partitions: partition, volumes: volume, ...change }));
  const [found] = read({});
  assert.equal(
    [found?.mount_path, found?.label, found?.filesystem, found?.total_size, found?.free_size, found?.serial_number],
    ['H:\\', 'H:', '', 0, 0, null],
  );
  assert.equal([found?.fs_uuid, found?.read_only, found?.restricted, found?.removable], [guid, false, false, true]);
  assert.equal(read({ partitions: { value: [null, partition], Count: 2 } }), [found]);
  assert.is(read({ disks: { ...disk, BusType: '1394' } })[0]?.transport, 'ieee1394');
  for (const BusType of [14, 15, 'File Backed Virtual', 'Virtual'])
    assert.is(read({ disks: { ...disk, BusType } })[0]?.restricted, true, String(BusType));
  assert.is(read({ disks: null })[0]?.restricted, true, 'on an unknown disk');
  for (const AccessPaths of [null, [], [path], path, [null]])
    assert.equal(read({ partitions: { ...partition, AccessPaths } }), [], JSON.stringify(AccessPaths));
  assert.equal(read({ partitions: null }), []);
  assert.equal(read({ volumes: [null, 3] }), []);
});

test('macOS: a volume over a whole disk, none mounted, text that only looks like a list', () => {
  const list = (disks: string): string[] =>
    platform.parseDiskutilList(
      `<?xml version="1.0"?><!DOCTYPE plist><plist version="1.0"><dict><key>AllDisks</key><array/><key>AllDisksAndPartitions</key>${disks}</dict></plist>`,
    );
  const entry = '<key>DeviceIdentifier</key><string>disk9</string>';
  assert.equal(list(`<array><dict>${entry}<key>MountPoint</key><string>/Volumes/A &amp; B</string></dict></array>`), [
    'disk9',
  ]);
  assert.equal(list(`<array><dict>${entry}<key>MountPoint</key><string></string></dict></array>`), []);
  assert.equal(list(`<array><dict>${entry}<key>Partitions</key><array/></dict></array>`), []);
  assert.equal(list('<array/>'), []);
  assert.equal(list('<string>none</string>'), []);
  for (const text of ['', 'Could not find disk: disk9', '<plist', '<plist version="1.0"><dict>']) {
    assert.equal(platform.parseDiskutilList(text), []);
    assert.is(platform.parseDiskutilInfo(text), undefined);
  }
});

test('listDrives on macOS joins list, info and mount, and leaves the system volume out', async () => {
  const mounted = folder('Film & Co');
  const answers = new Map([
    ['list -plist', fixture('diskutil-list.plist')],
    ['info -plist disk3s1s1', fixture('diskutil-info-system.plist')],
    [
      'info -plist disk4s1',
      fixture('diskutil-info-exfat.plist').replace('/Volumes/Photo &amp; Film', mounted.replace('&', '&amp;')),
    ],
    ['', fixture('mac-mount.txt')],
  ]);
  const exec = (_: string, args: readonly string[]): Promise<RunResult> =>
    Promise.resolve({ code: 0, stdout: answers.get(args.join(' ')) ?? '', stderr: '' });
  const drives = await detect.listDrives(contextWith('', { platform: 'darwin', exec }));
  assert.equal(
    drives.map((each) => [each.mount_path, each.disk]),
    [[mounted, '/dev/disk4']],
  );
});

test('virtual drives: connected while the folder is there, label from the settings, no program started', async () => {
  const [a, b] = [folder('a'), join(base, 'not there')];
  const drives = await detect.listDrives(contextWith(virtualYaml(a, b)));
  assert.is(drives.length, 1);
  const found = drives[0];
  assert.is(found?.label, 'V0');
  assert.is(found?.device, a);
  assert.is(found?.virtual, true);
  assert.is(found?.removable, true);
  assert.is(
    found?.device_number,
    platform.mountOf(fs.realpathSync(a), platform.parseMountInfo(fs.readFileSync('/proc/self/mountinfo')))
      ?.device_number,
  );
});

test('virtual drives: hostile names, a file instead of a folder, one path twice, the size of the setting', async () => {
  const odd = folder('a\nb\u001b[2J ä');
  const file = join(folder(), 'file');
  fs.writeFileSync(file, '');
  const ctx = contextWith(
    `${virtualYaml(odd, file, `${odd}/`)}    - { path: ${JSON.stringify(folder('s'))}, label: S, total_size: 5000 }\n`,
  );
  const drives = await detect.listDrives(ctx);
  assert.equal(
    drives.map((each) => each.mount_path.startsWith(odd)),
    [true, false],
  );
  assert.is(drives[1]?.total_size, 5000);
  assert.ok((drives[1]?.free_size ?? 0) <= 5000);
  const text = renderTable(drives, detect.panel.columns, (_, plain) => plain);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be left
  assert.not.match(text.replaceAll('\n', ''), /[\u0000-\u001f]/);
  assert.is(text.split('\n').length, 3);
});

test('listDrives with two virtual drives takes milliseconds', async () => {
  const ctx = contextWith(virtualYaml(folder('a'), folder('b')));
  await detect.listDrives(ctx);
  const times: number[] = [];
  for (let round = 0; round < 9; round += 1) {
    const start = performance.now();
    await detect.listDrives(ctx);
    times.push(performance.now() - start);
  }
  assert.ok(Math.min(...times) < 100, `fastest ${Math.min(...times)} ms`);
});

test('a broken signature is a warning, and the drive is listed without a group', async () => {
  const path = folder('v');
  fs.mkdirSync(join(path, '.tandem'));
  fs.writeFileSync(join(path, '.tandem/drive.json'), '{"drive_uuid": "x');
  const warnings: string[] = [];
  const ctx = contextWith(virtualYaml(path), {
    emit: (event) => void (event.kind === 'warning' && warnings.push(event.message)),
  });
  const drives = await detect.listDrives(ctx);
  assert.is(drives[0]?.drive_uuid, null);
  assert.is(warnings.length, 1);
  assert.match(warnings[0] ?? '', 'cannot be used');
});

test('signature: round trip, through a descriptor too; the note stays as the user left it; removal keeps the rest', () => {
  const root = folder();
  assert.is(detect.readSignature(root), null);
  detect.writeSignature(root, signature());
  assert.equal(detect.readSignature(root), signature());
  const fd = fs.openSync(root, 'r');
  try {
    assert.equal(detect.readSignature(`/proc/self/fd/${fd}`), signature());
    detect.writeSignature(`/proc/self/fd/${fd}`, signature({ role: 'backup' }));
  } finally {
    fs.closeSync(fd);
  }
  const note = join(root, '.tandem/README.txt');
  assert.match(fs.readFileSync(note, 'utf8'), 'without');
  fs.writeFileSync(note, 'mine');
  detect.writeSignature(root, signature());
  assert.is(fs.readFileSync(note, 'utf8'), 'mine');
  detect.removeSignature(root);
  assert.is(detect.readSignature(root), null);
  assert.equal(fs.readdirSync(join(root, '.tandem')), ['README.txt']);
});

test('signature: everything that is there but no signature is an error, and is never taken for absent', () => {
  const whole = signature();
  const cases: [string, string][] = [
    ['empty', ''],
    ['cut', JSON.stringify(whole).slice(0, 80)],
    ['null', 'null'],
    ['list', '[]'],
    ['number', '3'],
    ['no id', JSON.stringify({ ...whole, drive_uuid: undefined })],
    ['hostile id', JSON.stringify({ ...whole, drive_uuid: 'a\u001b[2J' })],
    ['role', JSON.stringify({ ...whole, role: 'boss' })],
    ['size', JSON.stringify({ ...whole, total_size: -1 })],
    ['traits null', JSON.stringify({ ...whole, traits: null })],
    ['traits cut', JSON.stringify({ ...whole, traits: { ...whole.traits, exchange: 'yes' } })],
    ['huge', ' '.repeat(300_000)],
  ];
  for (const [name, text] of cases) {
    const root = folder();
    fs.mkdirSync(join(root, '.tandem'));
    fs.writeFileSync(join(root, '.tandem/drive.json'), text);
    assert.is(thrown(() => detect.readSignature(root)).code, 'config', name);
  }
});

test('signature: links, pipes and files in its place are refused, and nothing is written through a link', async () => {
  const outside = folder('outside');
  detect.writeSignature(outside, signature());
  const linked = folder();
  fs.symlinkSync(join(outside, '.tandem'), join(linked, '.tandem'));
  assert.is(thrown(() => detect.readSignature(linked)).code, 'config');
  assert.is(thrown(() => detect.writeSignature(linked, signature({ label: 'evil' }))).code, 'config');
  assert.is(thrown(() => detect.removeSignature(linked)).code, 'config');
  assert.is(thrown(() => detect.probeTraits(linked, 'ext4')).code, 'config');
  assert.equal(detect.readSignature(outside), signature());
  const inner = folder();
  fs.mkdirSync(join(inner, '.tandem'));
  fs.symlinkSync(join(outside, '.tandem/drive.json'), join(inner, '.tandem/drive.json'));
  assert.is(thrown(() => detect.readSignature(inner)).code, 'config');
  const pipe = folder();
  fs.mkdirSync(join(pipe, '.tandem'));
  const made = await createContext().exec('mkfifo', [join(pipe, '.tandem/drive.json')]);
  assert.is(made.code, 0);
  assert.is(thrown(() => detect.readSignature(pipe)).code, 'config');
});

test('signature: fields of a later version are let through', () => {
  const root = folder();
  detect.writeSignature(root, { ...signature(), later: 1 } as detect.Signature);
  assert.is(detect.readSignature(root)?.drive_uuid, signature().drive_uuid);
});

test('probeTraits leaves nothing behind, neither where .tandem was nor where it was not', () => {
  const fresh = folder();
  detect.probeTraits(fresh, 'ext4');
  assert.equal(fs.readdirSync(fresh), []);
  const used = folder();
  detect.writeSignature(used, signature());
  detect.probeTraits(used, 'ext4');
  assert.equal(fs.readdirSync(join(used, '.tandem')).sort(), ['README.txt', 'drive.json']);
  assert.is(thrown(() => detect.probeTraits(join(fresh, 'gone'), 'ext4')).code, 'failed');
});

test('probeTraits measures what it can, and by type where Linux alone would say otherwise', () => {
  const root = folder();
  const probed = (type: string) => detect.probeTraits(root, type);
  const here = probed('ext4');
  assert.equal([here.mtime_granularity_ns, here.exchange, here.hard_links, here.xattrs], [1, true, true, true]);
  assert.equal([here.case_sensitive, probed('apfs').case_sensitive], [true, true], 'APFS comes in both kinds');
  for (const type of ['ntfs', 'exfat', 'vfat'])
    assert.equal([probed(type).case_sensitive, probed(type).exchange], [false, false], type);
  assert.is(probed('vfat').mtime_granularity_ns, 2_000_000_000);
  assert.is(probed('of another kind').exchange, true);
});

test('defaultTraits: by filesystem, cautious about unknown ones', () => {
  assert.is(detect.defaultTraits('vfat').mtime_granularity_ns, 2_000_000_000);
  assert.is(detect.defaultTraits('exfat').stable_ids, false);
  assert.is(detect.defaultTraits('ntfs').name_unit, 'utf16');
  assert.is(detect.defaultTraits('apfs').exchange, true);
  const unknown = detect.defaultTraits('nfs');
  assert.equal(
    [unknown.stable_ids, unknown.exchange, unknown.hard_links, unknown.xattrs],
    [false, false, false, false],
  );
});

const three = [
  drive({
    label: 'Photo',
    drive_uuid: 'aaaa1111-0000',
    fs_uuid: '65F1-2A0B',
    device: '/dev/sdb1',
    mount_path: '/media/m',
    serial_number: 'S1',
  }),
  drive({
    label: 'photo',
    drive_uuid: 'aaaa2222-0000',
    fs_uuid: 'beef0001',
    device: '/dev/sdc1',
    mount_path: '/media/b',
  }),
  drive({ label: '/media/m', drive_uuid: null, device: '/dev/sdd1', mount_path: '/media/c' }),
];

test('findDrive: by every name, exact before case, a path before a label that looks like it', () => {
  const at = (query: string): string => detect.findDrive(query, three).mount_path;
  assert.is(at('Photo'), '/media/m');
  assert.is(at('photo'), '/media/b');
  assert.is(at('/media/m'), '/media/m');
  assert.is(at('/media/x/../m/'), '/media/m');
  assert.is(at('/dev/sdd1'), '/media/c');
  assert.is(at('65f1-2a0b'), '/media/m');
  assert.is(at('s1'), '/media/m');
  assert.is(at('aaaa2'), '/media/b');
});

test('findDrive: ambiguous names list every drive, unknown ones guess, and hostile ones are shown safely', () => {
  const both = thrown(() => detect.findDrive('PHOTO', three));
  assert.is(both.code, 'ambiguous');
  assert.match(both.message, '/media/m');
  assert.match(both.message, '/media/b');
  assert.is(thrown(() => detect.findDrive('aaaa', three)).code, 'ambiguous');
  assert.is(thrown(() => detect.findDrive('aaa', three)).code, 'not_found');
  assert.is(thrown(() => detect.findDrive('', three)).code, 'not_found');
  assert.match(thrown(() => detect.findDrive('Phot', three.slice(0, 1))).hint ?? '', "'Photo'");
  assert.not.match(thrown(() => detect.findDrive('\u001b[2J', three)).message, '\u001b');
  assert.match(thrown(() => detect.findDrive('x', [])).hint ?? '', 'plug one in');
});

test('findDrive: one signature on two drives is ambiguous, never a pick', () => {
  const copies = [
    drive({ drive_uuid: 'same-uuid', mount_path: '/a' }),
    drive({ drive_uuid: 'same-uuid', mount_path: '/b' }),
  ];
  assert.is(thrown(() => detect.findDrive('same-uuid', copies)).code, 'ambiguous');
});

test('compareDrives: named cases', () => {
  const a = drive({ fs_uuid: 'F1', drive_uuid: 'D1' });
  const kinds = (before: detect.DriveInfo[], after: detect.DriveInfo[], gone: string[] = []): string[] =>
    detect.compareDrives(before, after, new Set(gone)).map((event) => event.kind);
  assert.equal(kinds([a], [a]), []);
  assert.equal(kinds([a], [{ ...a, free_size: 1 }]), []);
  assert.equal(kinds([], [a]), ['plugged']);
  assert.equal(kinds([a], []), ['unplugged']);
  assert.equal(kinds([a], [{ ...a, mount_path: '/other' }]), ['remounted']);
  assert.equal(kinds([a], [a], ['/media/x']), ['remounted']);
  assert.equal(kinds([a], [{ ...a, read_only: true }]), ['changed']);
  assert.equal(kinds([{ ...a, drive_uuid: null }], [a]), ['changed']);
  assert.equal(kinds([a], [{ ...a, fs_uuid: 'F2', drive_uuid: 'D2' }]), ['unplugged', 'plugged']);
  assert.equal(kinds([a], [{ ...a, fs_uuid: 'F1', drive_uuid: 'D2' }]), ['unplugged', 'plugged']);
  assert.equal(kinds([a], [a, { ...a, mount_path: '/copy', device: '/dev/sdy1' }]), ['plugged']);
});

test('ejectDrive: not a virtual drive, not one that is gone, not one in use by tandem', async () => {
  const ctx = contextWith('');
  assert.is((await rejected(detect.ejectDrive(drive({ virtual: true }), ctx))).code, 'invalid');
  assert.is((await rejected(detect.ejectDrive(drive({ mount_path: join(base, 'gone') }), ctx))).code, 'drive_missing');
  const root = folder();
  fs.mkdirSync(join(root, '.tandem'));
  fs.writeFileSync(
    join(root, '.tandem/lock'),
    JSON.stringify({ token: 't', counter: 0, ...thisProcess(), pid: process.ppid, start: '' }),
  );
  const locked = await rejected(detect.ejectDrive(drive({ mount_path: root }), ctx));
  assert.is(locked.code, 'locked');
  assert.match(locked.message, String(process.ppid));
});

test('ejectDrive: a lock of a former boot, of another machine or of no sense does not hold it', async () => {
  const others = [{ boot_id: 'former' }, { machine_id: 'other' }, { start: '1' }].map((change) =>
    JSON.stringify({ token: 't', counter: 0, ...thisProcess(), ...change }),
  );
  for (const text of [...others, '', '{"pid":1}', '[]', 'null']) {
    const root = folder();
    fs.mkdirSync(join(root, '.tandem'));
    fs.writeFileSync(join(root, '.tandem/lock'), text);
    const error = await rejected(
      detect.ejectDrive(drive({ mount_path: root, device_number: 'none' }), contextWith('')),
    );
    assert.is(error.code, 'drive_missing', text);
  }
});

test('drives.virtual: a path that is not absolute is refused with its place', () => {
  for (const path of ['photos', './photos', '~/photos', '']) {
    const ctx = contextWith(`drives:\n  virtual:\n    - { path: ${JSON.stringify(path)}, label: V }\n`);
    const error = thrown(() => ctx.settings());
    assert.is(error.code, 'config');
    assert.match(error.message, /app\.yaml:3:\d+: .*must be an absolute path/);
  }
});

test('addVirtualDrive: into an absent, a commented and an empty list; comments and order stay', async () => {
  const [a, b] = [folder('a'), folder('b\nc')];
  const ctx = contextWith('# mine\ndrives:\n  # docks\n  allow_fixed: ["Dock*"] # one\n');
  await detect.addVirtualDrive(ctx, a, 'A');
  await detect.addVirtualDrive(ctx, b, 'B: "x"', 2_000_000);
  const text = fs.readFileSync(join(ctx.configDir, 'app.yaml'), 'utf8');
  for (const part of ['# mine', '# docks', '# one', 'Dock*']) assert.ok(text.includes(part), part);
  assert.equal(ctx.settings().virtualDrives, [
    { path: a, label: 'A' },
    { path: b, label: 'B: "x"', total_size: 2_000_000 },
  ]);
  for (const yaml of ['', '# only a comment\n', 'drives:\n  virtual: []\n']) {
    const fresh = contextWith(yaml);
    await detect.addVirtualDrive(fresh, a, 'A');
    assert.is(fresh.settings().virtualDrives.length, 1, yaml);
    assert.ok(
      fs
        .readFileSync(join(fresh.configDir, 'app.yaml'), 'utf8')
        .includes(yaml.split('\n')[0]?.startsWith('#') ? '# only' : ''),
    );
  }
});

test('addVirtualDrive: several at once lose none', async () => {
  const ctx = contextWith('');
  const paths = [1, 2, 3, 4, 5].map(() => folder('v'));
  await Promise.all(paths.map((path, index) => detect.addVirtualDrive(ctx, path, `L${index}`)));
  assert.is(ctx.settings().virtualDrives.length, 5);
});

test('removeVirtualDrive: by label or folder; comments, the others and every file stay', async () => {
  const [a, b, c] = [folder('a'), folder('b'), folder('c')];
  const ctx = contextWith(`# mine\n${virtualYaml(a, b, c)}# end\n`);
  fs.writeFileSync(join(a, 'file'), 'x');
  assert.is((await rejected(removeVirtualDrive('V7', ctx))).code, 'not_found');
  assert.is((await removeVirtualDrive('v0', ctx)).path, a);
  assert.is((await removeVirtualDrive(`${c}/`, ctx)).label, 'V2');
  const text = fs.readFileSync(join(ctx.configDir, 'app.yaml'), 'utf8');
  assert.match(text, /^# mine\n[\s\S]*V1[\s\S]*# end\n$/);
  assert.equal(
    ctx.settings().virtualDrives.map(({ path }) => path),
    [b],
  );
  assert.is(fs.readFileSync(join(a, 'file'), 'utf8'), 'x');
  fs.mkdirSync(join(b, '.tandem'));
  fs.writeFileSync(
    join(b, '.tandem/lock'),
    JSON.stringify({ token: 't', counter: 0, ...thisProcess(), pid: process.ppid, start: '' }),
  );
  assert.is((await rejected(removeVirtualDrive('V1', ctx))).code, 'locked');
  fs.rmSync(join(b, '.tandem/lock'));
  detect.writeSignature(b, signature());
  const remove = detect.command.verbs['remove'];
  const refused = contextWith(virtualYaml(b), { prompts: { ...refusingPrompts, confirm: async () => false } });
  const words = { args: { drive: 'V0' }, options: {} };
  assert.is((await rejected(Promise.resolve(remove?.run(words, refused, () => {})))).code, 'cancelled');
  assert.is(refused.settings().virtualDrives.length, 1);
  await removeVirtualDrive('V0', refused);
  assert.is(detect.readSignature(b)?.group_id, signature().group_id);
});

test('addVirtualDrive: refuses what cannot be one, and a broken file stays untouched', async () => {
  const path = folder('a');
  const ctx = contextWith(virtualYaml(path));
  fs.mkdirSync(join(path, 'in'));
  const link = join(folder(), 'link');
  fs.symlinkSync(path, link);
  const cases: [string, string][] = [
    [path, 'X'],
    [join(path, 'in'), 'X'],
    [join(path, '..'), 'X'],
    [link, 'X'],
    ['/', 'X'],
    [join(base, 'no'), 'X'],
  ];
  for (const [where, label] of [...cases, [folder('z'), 'v0'], [folder('z'), ' ']] as [string, string][]) {
    assert.is((await rejected(detect.addVirtualDrive(ctx, where, label))).code, 'invalid', `${where} ${label}`);
  }
  const broken = 'drives: [\n';
  const other = contextWith(broken);
  assert.is((await rejected(detect.addVirtualDrive(other, path, 'A'))).code, 'config');
  assert.is(fs.readFileSync(join(other.configDir, 'app.yaml'), 'utf8'), broken);
});

test('show names the paired drive and whether the pair is complete', async () => {
  const [a, b] = [folder('a'), folder('b')];
  detect.writeSignature(a, signature());
  detect.writeSignature(b, signature({ role: 'backup', drive_uuid: 'other-uuid' }));
  const verb = detect.command.verbs['show'];
  const show = (ctx: Context) => verb?.run({ args: { drive: 'V0' }, options: {} }, ctx, () => {});
  const both = (await show(contextWith(virtualYaml(a, b))))?.json as Record<string, unknown>;
  assert.is(both['status'], 'connected');
  assert.is((both['paired_drive'] as detect.DriveInfo).drive_uuid, 'other-uuid');
  const alone = (await show(contextWith(virtualYaml(a))))?.json as Record<string, unknown>;
  assert.equal([alone['status'], alone['paired_drive'], alone['role']], ['partial', null, 'master']);
});

test('an empty list says what to do next', async () => {
  const output = await detect.command.verbs['list']?.run({ args: {}, options: {} }, contextWith(''), () => {});
  assert.equal(output?.json, []);
  assert.match(output?.text((_, text) => text) ?? '', 'detect add');
});

test('watchDrives: virtual drives that appear, vanish and change; a settings file broken meanwhile is only a warning', async () => {
  const path = folder('v');
  const stop = new AbortController();
  const warnings: string[] = [];
  const ctx = contextWith(virtualYaml(path), {
    signal: stop.signal,
    emit: (event) => void (event.kind === 'warning' && warnings.push(event.message)),
  });
  const kinds: string[] = [];
  const until = async (done: () => boolean): Promise<void> => {
    for (let round = 0; round < 100 && !done(); round += 1) await new Promise((next) => setTimeout(next, 50));
  };
  const watching = detect.watchDrives(ctx, (event) => kinds.push(event.kind));
  try {
    await new Promise((next) => setTimeout(next, 200));
    detect.writeSignature(path, signature());
    await until(() => kinds.length === 1);
    fs.writeFileSync(join(ctx.configDir, 'app.yaml'), 'drives: [');
    await until(() => warnings.length > 0);
    fs.writeFileSync(join(ctx.configDir, 'app.yaml'), virtualYaml(path));
    fs.renameSync(path, `${path}-away`);
    await until(() => kinds.length === 2);
    fs.renameSync(`${path}-away`, path);
    await until(() => kinds.length === 3);
  } finally {
    stop.abort();
    await watching;
  }
  assert.equal(kinds, ['changed', 'unplugged', 'plugged']);
  assert.is(warnings.length, 1);
});

test.run();
