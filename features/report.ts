/**
 * What is known of a project's copies, and whether the card that it came from may be formatted. Speaks from the records
 * alone: no drive is read, so it says what was true when the drives were last looked at, and dates that.
 */
import type { Context } from '../shared/context.ts';
import { type Column, defineCommand, definePanel, type Output, type Paint, runIfMain } from '../shared/feature.ts';
import { formatBytes, formatCount, formatTime, plural } from '../shared/format.ts';
import { readConflicts } from '../shared/inbox.ts';
import { displayPath, isInside } from '../shared/paths.ts';
import { verifiedDates } from '../shared/verified.ts';
import { knownProjects, type Project, partsOf, pickProject } from './catalog.ts';
import { type Operation, readBaseline } from './history.ts';
import { lastOf } from './parts.ts';
import { pairOf } from './settle.ts';
import { projectTargets, type Target } from './targets.ts';

/** Of one role of a project, or of the whole of one without roles. Sizes in bytes, times ISO 8601 in UTC. */
export interface PartReport {
  role: string | null;
  group_id: string;
  group_name: string;
  /** From the drives' root. */
  path: string;
  files: number;
  bytes: number;
  /** Files by the number of drives that hold them with the same checksum. */
  copies: Record<'0' | '1' | '2', number>;
  /** Of the files with two copies: the Backup's was read back from the drive and found right. */
  read_back: number;
  last_sync: string | null;
  last_verify: string | null;
  conflicts: number;
  safe_to_format: boolean;
  /** One sentence for each reason. */
  because: string[];
}

export interface ProjectReport {
  project: string;
  project_id: string;
  files: number;
  bytes: number;
  conflicts: number;
  /** Every part is. */
  safe_to_format: boolean;
  because: string[];
  parts: PartReport[];
}

/** @throws TandemError `not_found` with a guess, `ambiguous` with every project that fits. */
export async function reportProject(query: string, ctx: Context): Promise<ProjectReport> {
  return reportOf(pickProject(query, await knownProjects(ctx)), ctx);
}

// --- internal ---

async function reportOf(project: Project, ctx: Context): Promise<ProjectReport> {
  const plain = partsOf(project).length === 0;
  const parts: PartReport[] = [];
  for (const target of plain ? [] : projectTargets(project, {}, ctx)) parts.push(await partOf(target, ctx));
  const because = plain
    ? ['it is a plain folder without a group, of whose copies nothing is recorded']
    : parts.flatMap((part) => part.because.map((why) => (part.role === null ? why : `${part.role}: ${why}`)));
  return {
    project: project.name,
    project_id: project.id,
    files: parts.reduce((sum, { files }) => sum + files, 0),
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    conflicts: parts.reduce((sum, { conflicts }) => sum + conflicts, 0),
    safe_to_format: !plain && parts.every((part) => part.safe_to_format),
    because,
    parts,
  };
}

async function partOf(target: Target, ctx: Context): Promise<PartReport> {
  const { group, subpath, project } = target;
  const pairId = await pairOf(group, ctx);
  const rows = pairId === null ? [] : await readBaseline(pairId, subpath, ctx);
  const dates = pairId === null ? new Map() : await verifiedDates(pairId, subpath, ctx);
  const open = pairId === null ? [] : await readConflicts(pairId, subpath, ctx);
  const sync = await lastOf(target, 'sync', 'completed', ctx);
  const newest = await lastOf(target, 'sync', undefined, ctx);
  const verify = await lastOf(target, 'verify', 'completed', ctx);
  const copies = { '0': 0, '1': 0, '2': 0 };
  const found = { files: 0, bytes: 0, read_back: 0 };
  for (const row of rows) {
    if (!row.master_facts.startsWith('f')) continue;
    found.files += 1;
    found.bytes += row.size;
    // In a conflict each side may hold something of its own; without a checksum nobody has read what is there.
    const waits = open.some(({ path }) => isInside(row.path, path));
    const held = row.checksum === '' || row.doubt !== '' ? '0' : waits ? '1' : '2';
    copies[held] += 1;
    if (held === '2' && dates.get(row.path)?.backup != null) found.read_back += 1;
  }
  const part = {
    role: project?.role ?? null,
    group_id: group.id,
    group_name: group.name,
    path: subpath,
    ...found,
    copies,
    last_sync: sync?.end_time ?? null,
    last_verify: verify?.end_time ?? null,
    conflicts: open.length,
  };
  const against = reasonsAgainst(part, newest);
  return { ...part, safe_to_format: against.length === 0, because: against.length > 0 ? against : [reasonFor(part)] };
}

type Counted = Omit<PartReport, 'safe_to_format' | 'because'>;

function reasonsAgainst(part: Counted, newest: Operation | null): string[] {
  const { files, copies, read_back, last_sync, conflicts } = part;
  const reasons: string[] = [];
  if (last_sync === null) reasons.push('it was never synced as a whole');
  if (newest !== null && newest.status !== 'completed')
    reasons.push(`its newest sync is ${newest.status} (operation ${newest.id})`);
  if (files === 0) reasons.push('no file is recorded of it');
  if (conflicts > 0) reasons.push(`${plural(conflicts, 'conflict')} wait for a decision`);
  if (copies['0'] > 0) reasons.push(`the content of ${plural(copies['0'], 'file')} was never compared on both drives`);
  const unread = copies['2'] - read_back;
  if (unread > 0)
    reasons.push(
      `${plural(unread, 'file')} were never read back from the Backup: \`tandem verify run --side backup\` does`,
    );
  return reasons;
}

function reasonFor({ files, last_sync }: Counted): string {
  return `each of the ${plural(files, 'file')} of the last sync (${last_sync}) is on Master and Backup with the same checksum, and was read back from the Backup`;
}

function partLines(part: PartReport, paint: Paint): string[] {
  const time = (iso: string | null): string => (iso === null ? 'never' : formatTime(new Date(iso)));
  const { copies } = part;
  const head = part.role === null ? part.group_name : `${part.role} on ${part.group_name}`;
  return [
    paint('bold', displayPath(head)),
    `  ${displayPath(part.path === '' ? 'the whole drive' : part.path)}: ${plural(part.files, 'file')}, ${formatBytes(part.bytes)}`,
    `  on two drives ${formatCount(copies['2'])} (read back ${formatCount(part.read_back)}), on one ${formatCount(copies['1'])}, never compared ${formatCount(copies['0'])}`,
    `  last sync ${time(part.last_sync)}, last verify ${time(part.last_verify)}, ${plural(part.conflicts, 'open conflict')}`,
  ];
}

function reportOutput(report: ProjectReport): Output {
  const text = (paint: Paint): string =>
    [
      `${paint('bold', displayPath(report.project))}  ${plural(report.files, 'file')}, ${formatBytes(report.bytes)}`,
      ...report.parts.flatMap((part) => partLines(part, paint)),
      report.safe_to_format
        ? paint('good', '✓ Safe to format the card: yes, because')
        : paint('bad', '✗ Safe to format the card: no, because'),
      ...report.because.map((why) => `  ${displayPath(why)}.`),
      paint(
        'dim',
        '  Only what is recorded of this project counts: not what filters leave out, nor what else the card holds.',
      ),
    ].join('\n');
  return { json: report, text };
}

// --- command ---

export const command = defineCommand({
  name: 'report',
  summary: 'What is known of the copies of a project',
  verbs: {
    project: {
      summary: 'files, copies, last sync and verify, conflicts, and whether the card may be formatted',
      examples: ['tandem report project Wedding', 'tandem report project Wedding --json'],
      args: [{ name: 'project', description: 'id, unique start of an id, or name', complete: 'project' }],
      run: async ({ args }, ctx) => reportOutput(await reportProject(args['project'], ctx)),
    },
  },
});

const COLUMNS: readonly Column<ProjectReport>[] = [
  { title: 'Project', value: ({ project }) => displayPath(project) },
  { title: 'Files', align: 'right', value: ({ files }) => formatCount(files) },
  { title: 'Size', align: 'right', value: ({ bytes }) => formatBytes(bytes) },
  { title: 'Conflicts', align: 'right', value: ({ conflicts }) => formatCount(conflicts) },
  {
    title: 'Card',
    value: ({ safe_to_format }) => (safe_to_format ? '✓ may be formatted' : '✗ keep'),
    style: ({ safe_to_format }) => (safe_to_format ? 'good' : 'bad'),
  },
];

export const panel = definePanel<ProjectReport>({
  title: 'Report',
  rows: async (ctx) => {
    const rows: ProjectReport[] = [];
    for (const project of await knownProjects(ctx))
      rows.push(await reportOf(project, ctx).catch(() => unknown(project)));
    return rows;
  },
  columns: COLUMNS,
  empty: 'No projects yet, so there is nothing to report.',
  actions: [],
});

/** Of a project whose group is not known here. */
function unknown({ id, name }: Project): ProjectReport {
  const nothing = { files: 0, bytes: 0, conflicts: 0, safe_to_format: false, parts: [] };
  return { project: name, project_id: id, ...nothing, because: ['its group is not known here'] };
}

runIfMain(import.meta, command);
