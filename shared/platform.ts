/**
 * What operating systems say about mounted volumes: pure parsers from recorded output to one common shape, so that those
 * of each system can be tested on any other. Linux: /proc/self/mountinfo, lsblk, blkid, findmnt --poll, and the block
 * devices in sysfs. macOS: `diskutil -plist` and `mount`. Windows: one PowerShell document.
 */
import { isUtf8 } from 'node:buffer';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** A mounted volume as its system describes it; sizes in bytes. */
export interface Volume {
  device: string;
  /** The physical disk below it, or the device itself. */
  disk: string;
  mount_path: string;
  label: string;
  serial_number: string | null;
  fs_uuid: string | null;
  filesystem: string;
  total_size: number;
  free_size: number;
  removable: boolean;
  transport: string | null;
  rotational: boolean | null;
  read_only: boolean;
  /** On a system disk, a loop device or a disk image: a drive only when the user allows it by name. */
  restricted: boolean;
}

/** One line of mountinfo. */
export interface Mount {
  /** `major:minor` of the superblock. */
  device_number: string;
  /** The folder of the filesystem that is mounted: `/`, or another one for a bind mount or a subvolume. */
  root: string;
  mount_path: string;
  /** False when the path is not valid UTF-8, so that no string names it. */
  nameable: boolean;
  read_only: boolean;
  filesystem: string;
  source: string;
}

/** What lsblk knows of a device, its parents' facts included. */
export interface BlockFacts {
  label: string | null;
  fs_uuid: string | null;
  filesystem: string | null;
  serial_number: string | null;
  transport: string | null;
  rotational: boolean | null;
  removable: boolean;
}

/** What sysfs knows of a device. */
export interface BlockDevice {
  /** Kernel name, e.g. `sdb1`. */
  name: string;
  /** The physical disks below it, e.g. `/dev/sdb`; several for RAID and LVM. */
  disks: string[];
  removable: boolean;
  transport: string | null;
  loop: boolean;
}

const NAMES: Record<string, string> = {
  ntfs3: 'ntfs',
  'ntfs-3g': 'ntfs',
  msdos: 'vfat',
  fat32: 'vfat',
  fat: 'vfat',
  fat16: 'vfat',
  hfs: 'hfsplus',
  nfs4: 'nfs',
  smb3: 'cifs',
  smbfs: 'cifs',
};

/** One name per family of filesystem: `ntfs3` and `NTFS` are `ntfs`, `msdos` is `vfat`, `fuse.sshfs` is `sshfs`. */
export function filesystemName(text: string): string {
  const name = text.toLowerCase().replace(/^fuse\./, '');
  return NAMES[name] ?? name;
}

const NETWORK = /^(nfs|cifs|sshfs|9p|ceph|davfs2?|webdav|rclone|glusterfs|lustre|afs|afpfs|s3fs|goofys|smbnetfs)$/;

/** Takes a name from `filesystemName`. */
export function isNetworkFilesystem(filesystem: string): boolean {
  return NETWORK.test(filesystem);
}

/** Whether `drives.allow_fixed` names this volume: `true` names all, a pattern is compared with device, label and mount path. */
export function isAllowed(
  volume: Pick<Volume, 'device' | 'label' | 'mount_path'>,
  allow: boolean | readonly string[],
): boolean {
  if (typeof allow === 'boolean') return allow;
  const names = [volume.device, volume.label, volume.mount_path];
  return allow.some((pattern) => {
    const literal = pattern.split('*').map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'));
    const expression = new RegExp(`^${literal.join('.*')}$`, 's');
    return names.some((name) => expression.test(name));
  });
}

const COUNTING = [
  '0123456789abcdef0123456789abcdef',
  '01234567890123456789',
  '123456789abcdef',
  '12345678901234567890',
];

/** A serial number that names one disk, trimmed; null for what makers put in when they have none. */
export function usableSerial(text: string | null | undefined): string | null {
  const serial = (text ?? '').replace(/[\0\s]+/g, ' ').trim();
  const core = serial
    .toLowerCase()
    .replace(/^0x/, '')
    .replace(/[^\p{L}\p{N}]/gu, '');
  if (core === '' || /^(.)\1*$/u.test(core)) return null;
  if (/^(none|null|na|unknown|default|serialnumber|notavailable|tobefilledbyoem)$/.test(core)) return null;
  return core.length >= 6 && COUNTING.some((digits) => digits.startsWith(core)) ? null : serial;
}

/** Lines of /proc/self/mountinfo (proc(5)) in the order of the kernel; paths are decoded byte by byte. */
export function parseMountInfo(content: Uint8Array): Mount[] {
  const mounts: Mount[] = [];
  for (const line of Buffer.from(content).toString('latin1').split('\n')) {
    const [before, after] = line.split(' - ');
    const fields = before?.split(' ') ?? [];
    const rest = after?.split(' ') ?? [];
    if (fields.length < 6 || rest.length < 2) continue;
    const path = unescapeOctal(fields[4] ?? '');
    mounts.push({
      device_number: fields[2] ?? '',
      root: unescapeOctal(fields[3] ?? '').toString(),
      mount_path: path.toString(),
      nameable: isUtf8(path),
      read_only: isReadOnly(fields[5]) || isReadOnly(rest[2]),
      filesystem: unescapeOctal(rest[0] ?? '').toString(),
      source: unescapeOctal(rest[1] ?? '').toString(),
    });
  }
  return mounts;
}

/** The mount that holds `path` (absolute, without symlinks): the longest one above it, of equal ones the last. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  let best: Mount | undefined;
  for (const mount of mounts) {
    const above = mount.mount_path === '/' || path === mount.mount_path || path.startsWith(`${mount.mount_path}/`);
    if (above && mount.mount_path.length >= (best?.mount_path.length ?? 0)) best = mount;
  }
  return best;
}

/** `lsblk -J -b …` by `major:minor`; undefined for text that is not such a document. */
export function parseLsblk(text: string): Map<string, BlockFacts> | undefined {
  const document = parseJson(text);
  if (!isRecord(document) || !Array.isArray(document['blockdevices'])) return undefined;
  const found = new Map<string, BlockFacts>();
  const visit = (entry: unknown, parent: BlockFacts | undefined): void => {
    if (!isRecord(entry)) return;
    const facts = blockFacts(entry, parent);
    const number = textOf(entry['maj:min']);
    if (number) found.set(number.trim(), facts);
    for (const child of listOf(entry['children'])) visit(child, facts);
  };
  for (const entry of document['blockdevices']) visit(entry, undefined);
  return found;
}

/** `blkid -p -o udev DEVICE`; what the device does not have is null. */
export function parseBlkid(text: string): { label: string | null; fs_uuid: string | null; filesystem: string | null } {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    if (equals > 0) values.set(line.slice(0, equals), line.slice(equals + 1));
  }
  const encoded = (key: string): string | null => unescapeHex(values.get(key) ?? '') || null;
  return {
    label: encoded('ID_FS_LABEL_ENC'),
    fs_uuid: encoded('ID_FS_UUID_ENC'),
    filesystem: values.get('ID_FS_TYPE') || null,
  };
}

/** A line of `findmnt --poll -P -o ACTION,TARGET,…`. */
export function parseMountEvent(line: string): { action: string; mount_path: string } | undefined {
  const match = /^ACTION="([^"]*)" TARGET="([^"]*)"/.exec(line);
  return match ? { action: match[1] ?? '', mount_path: unescapeHex(match[2] ?? '') } : undefined;
}

/** The device `major:minor` in sysfs; undefined when it is gone, for example pulled without an unmount. */
export function readBlockDevice(number: string, sys = '/sys'): BlockDevice | undefined {
  if (!/^\d+:\d+$/.test(number)) return undefined;
  try {
    const device = realpathSync(join(sys, 'dev/block', number));
    const disks = disksBelow(device, sys);
    const parents = disks.map((disk) => connection(disk, sys));
    return {
      name: kernelName(device),
      disks: disks.map((disk) => `/dev/${kernelName(disk)}`),
      removable: parents.length > 0 && parents.every((parent) => parent.removable),
      transport: parents[0]?.transport ?? null,
      loop: disks.some((disk) => /^loop\d+$/.test(basename(disk))),
    };
  } catch {
    return undefined;
  }
}

/** Identifiers of the mounted volumes in `diskutil list -plist`. */
export function parseDiskutilList(text: string): string[] {
  const document = parsePlist(text);
  const found: string[] = [];
  const visit = (entry: unknown): void => {
    if (!isRecord(entry)) return;
    const id = textOf(entry['DeviceIdentifier']);
    if (id && textOf(entry['MountPoint'])) found.push(id);
    for (const key of ['Partitions', 'APFSVolumes']) for (const child of listOf(entry[key])) visit(child);
  };
  if (isRecord(document)) for (const disk of listOf(document['AllDisksAndPartitions'])) visit(disk);
  return found;
}

/** One `diskutil info -plist DEVICE`; undefined when it is not a mounted volume. diskutil names no serial number. */
export function parseDiskutilInfo(text: string): Volume | undefined {
  const info = parsePlist(text);
  if (!isRecord(info)) return undefined;
  const mount = textOf(info['MountPoint']);
  const device = textOf(info['DeviceNode']);
  if (!mount || !device) return undefined;
  const store = listOf(info['APFSPhysicalStores']).find(isRecord);
  const whole = textOf(store?.['APFSPhysicalStore'])?.replace(/s\d+$/, '') ?? textOf(info['ParentWholeDisk']);
  const bus = textOf(info['BusProtocol']);
  const system = mount === '/' || /^\/(System\/Volumes|private\/var)(\/|$)/.test(mount);
  const solid = info['SolidState'];
  return {
    device,
    disk: whole ? `/dev/${whole}` : device,
    mount_path: mount,
    label: textOf(info['VolumeName']) || basename(mount),
    serial_number: null,
    fs_uuid: textOf(info['VolumeUUID']) || null,
    filesystem: filesystemName(textOf(info['FilesystemType']) ?? ''),
    total_size: numberOf(info['TotalSize'] ?? info['Size']),
    free_size: numberOf(info['APFSContainerFree']) || numberOf(info['FreeSpace']),
    removable:
      info['RemovableMediaOrExternalDevice'] === true || info['Ejectable'] === true || info['Internal'] === false,
    transport: bus ? bus.toLowerCase() : null,
    rotational: typeof solid === 'boolean' ? !solid : null,
    read_only: info['WritableVolume'] === false,
    restricted: system || bus === 'Disk Image',
  };
}

/** Lines of macOS `mount`: `//ada@nas/photos on /Volumes/photos (smbfs, nodev, nosuid)`. */
export function parseMacMounts(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const match of text.matchAll(/^(.+?) on (\/.*) \(([^()]*)\)$/gm)) {
    const options = (match[3] ?? '').split(', ');
    mounts.push({
      device_number: '',
      root: '/',
      mount_path: match[2] ?? '',
      nameable: true,
      read_only: options.includes('read-only'),
      filesystem: options[0] ?? '',
      source: match[1] ?? '',
    });
  }
  return mounts;
}

/** What `parseWindowsVolumes` reads: three lists in one JSON document. */
export const WINDOWS_SCRIPT = [
  '[Console]::OutputEncoding = [Text.Encoding]::UTF8',
  '$disks = @(Get-Disk | Select-Object Number,SerialNumber,BusType,IsBoot,IsSystem,IsReadOnly)',
  '$partitions = @(Get-Partition | Select-Object DiskNumber,PartitionNumber,IsReadOnly,AccessPaths)',
  '$volumes = @(Get-Volume | Select-Object Path,UniqueId,FileSystemLabel,FileSystem,DriveType,Size,SizeRemaining)',
  'ConvertTo-Json -Depth 4 -Compress @{ disks = $disks; partitions = $partitions; volumes = $volumes }',
].join('; ');

/** The volumes of `WINDOWS_SCRIPT`'s document that have a drive letter or a folder. */
export function parseWindowsVolumes(text: string): Volume[] {
  const document = parseJson(text.replace(/^\ufeff/, ''));
  if (!isRecord(document)) return [];
  const disks = new Map(
    listOf(document['disks'])
      .filter(isRecord)
      .map((disk) => [disk['Number'], disk]),
  );
  const partitions = listOf(document['partitions']).filter(isRecord);
  return listOf(document['volumes'])
    .filter(isRecord)
    .flatMap((volume) => {
      const path = textOf(volume['Path']);
      const partition = partitions.find((each) => path !== undefined && listOf(each['AccessPaths']).includes(path));
      const mount = listOf(partition?.['AccessPaths']).find((each) => typeof each === 'string' && each !== path);
      if (!partition || typeof mount !== 'string') return [];
      return [windowsVolume(volume, partition, disks.get(partition['DiskNumber']), mount)];
    });
}

/** A plist in XML (Apple's PropertyList-1.0 DTD) as plain values; undefined for anything else. Dates and data stay text. */
export function parsePlist(text: string): unknown {
  const tokens = [...text.matchAll(/<(\/?)([a-z]+)(?:\s[^>]*?)?(\/?)>([^<]*)/g)];
  const start = tokens.findIndex((token) => token[2] === 'plist' && token[1] === '');
  if (start < 0) return undefined;
  return readPlist(tokens, { at: start + 1 });
}

// --- internal ---

function isReadOnly(options: string | undefined): boolean {
  return (options ?? '').split(',').includes('ro');
}

function unescapeOctal(field: string): Buffer {
  return Buffer.from(
    field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8) & 0xff)),
    'latin1',
  );
}

/** `\x0a` as libblkid and findmnt write bytes; the bytes are UTF-8. */
function unescapeHex(text: string): string {
  if (!text.includes('\\x')) return text;
  const bytes = Buffer.from(text).toString('latin1');
  const plain = bytes.replace(/\\x([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(plain, 'latin1').toString();
}

function blockFacts(entry: Record<string, unknown>, parent: BlockFacts | undefined): BlockFacts {
  const transport = textOf(entry['tran'])?.trim() || parent?.transport || null;
  const filesystem = textOf(entry['fstype']);
  return {
    label: textOf(entry['label']) || null,
    fs_uuid: textOf(entry['uuid']) || null,
    filesystem: filesystem ? filesystemName(filesystem) : null,
    serial_number: usableSerial(textOf(entry['serial'])) ?? parent?.serial_number ?? null,
    transport,
    rotational:
      entry['rota'] === undefined || entry['rota'] === null ? (parent?.rotational ?? null) : flag(entry['rota']),
    removable: flag(entry['rm']) || flag(entry['hotplug']) || isPluggable(transport) || (parent?.removable ?? false),
  };
}

function isPluggable(transport: string | null): boolean {
  return transport === 'usb' || transport === 'ieee1394' || transport === 'mmc';
}

/** Older versions of lsblk write "1" and "0". */
function flag(value: unknown): boolean {
  return value === true || value === 1 || value === '1';
}

/** Down through partitions, device mapper and RAID to the disks; folders in sysfs. */
function disksBelow(device: string, sys: string): string[] {
  if (existsSync(join(device, 'partition'))) return [dirname(device)];
  const slaves = existsSync(join(device, 'slaves')) ? readdirSync(join(device, 'slaves')).sort() : [];
  if (slaves.length === 0) return [device];
  const below = slaves.flatMap((slave) => disksBelow(realpathSync(join(sys, 'class/block', slave)), sys));
  return [...new Set(below)];
}

/**
 * How a disk hangs on the machine. Pluggable buses count as removable whatever the medium says, and so does every device
 * that the firmware marks as reachable from outside (Thunderbolt).
 */
function connection(disk: string, sys: string): { removable: boolean; transport: string | null } {
  let removable = readText(join(disk, 'removable')) === '1';
  let transport: string | null = null;
  const top = realpathSync(sys);
  for (let at = dirname(disk); at.length > top.length; at = dirname(at)) {
    if (readText(join(at, 'removable')) === 'removable') removable = true;
    if (!existsSync(join(at, 'subsystem'))) continue;
    const bus = basename(realpathSync(join(at, 'subsystem')));
    if (transport === null && /^(usb|mmc|nvme|virtio)$/.test(bus)) transport = bus;
    if (transport === null && bus === 'firewire') transport = 'ieee1394';
  }
  return { removable: removable || isPluggable(transport), transport };
}

function kernelName(device: string): string {
  return basename(device).replaceAll('!', '/');
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

const WINDOWS_BUS: Record<string, string> = {
  4: 'ieee1394',
  7: 'usb',
  8: 'raid',
  10: 'sas',
  11: 'sata',
  12: 'sd',
  13: 'mmc',
  14: 'virtual',
  15: 'file backed virtual',
  17: 'nvme',
  1394: 'ieee1394',
};

type Json = Record<string, unknown>;

function windowsVolume(volume: Json, partition: Json, disk: Json | undefined, mount: string): Volume {
  const rawBus = disk?.['BusType'];
  const bus = WINDOWS_BUS[String(rawBus)] ?? (typeof rawBus === 'string' ? rawBus.toLowerCase() : null);
  const kind = volume['DriveType'];
  const unique = textOf(volume['UniqueId']) ?? textOf(volume['Path']) ?? '';
  return {
    device: textOf(volume['Path']) ?? mount,
    disk: `\\\\.\\PHYSICALDRIVE${String(partition['DiskNumber'])}`,
    mount_path: mount,
    label: textOf(volume['FileSystemLabel']) || mount.replace(/\\$/, ''),
    serial_number: usableSerial(textOf(disk?.['SerialNumber'])),
    fs_uuid: /\{([0-9a-f-]+)\}/i.exec(unique)?.[1]?.toLowerCase() ?? null,
    filesystem: filesystemName(textOf(volume['FileSystem']) ?? ''),
    total_size: numberOf(volume['Size']),
    free_size: numberOf(volume['SizeRemaining']),
    removable: kind === 'Removable' || kind === 2 || bus === 'sd' || isPluggable(bus),
    transport: bus,
    rotational: null,
    read_only: disk?.['IsReadOnly'] === true || partition['IsReadOnly'] === true,
    restricted: disk === undefined || disk['IsBoot'] === true || disk['IsSystem'] === true || /virtual/.test(bus ?? ''),
  };
}

function readPlist(tokens: readonly RegExpMatchArray[], cursor: { at: number }): unknown {
  const token = tokens[cursor.at];
  cursor.at += 1;
  if (!token || token[1] === '/') return undefined;
  const name = token[2];
  const empty = token[3] === '/';
  if (name === 'true' || name === 'false') {
    if (!empty) cursor.at += 1;
    return name === 'true';
  }
  if (name === 'dict' || name === 'array')
    return empty ? (name === 'dict' ? {} : []) : readPlistItems(name, tokens, cursor);
  const text = empty ? '' : unescapeXml(token[4] ?? '');
  if (!empty) cursor.at += 1;
  return name === 'integer' || name === 'real' ? Number(text) : text;
}

function readPlistItems(name: 'dict' | 'array', tokens: readonly RegExpMatchArray[], cursor: { at: number }): unknown {
  const items: unknown[] = [];
  while (cursor.at < tokens.length && tokens[cursor.at]?.[1] !== '/') items.push(readPlist(tokens, cursor));
  cursor.at += 1;
  if (name === 'array') return items;
  const entries = items.flatMap((key, index) => (index % 2 === 0 ? [[String(key), items[index + 1]] as const] : []));
  return Object.fromEntries(entries);
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(amp|lt|gt|quot|apos));/gi, (whole, hex, decimal, name) => {
    if (name) return ENTITIES[String(name).toLowerCase()] ?? whole;
    const code = hex ? Number.parseInt(hex, 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** PowerShell writes a list of one as the thing itself, none as null, and version 5 some as `{ value: […], Count }`. */
function listOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  if (isRecord(value) && Array.isArray(value['value']) && 'Count' in value) return value['value'];
  return value === undefined || value === null ? [] : [value];
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function numberOf(value: unknown): number {
  const number = Number(value);
  return Number.isFinite(number) ? number : 0;
}
