/** docs/api.md is true: every row names an export of its file that has the signature, the fields or the type it states. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { REPOSITORY } from './helpers/cli.ts';

const test = suite('api');

interface ApiRow {
  reference: string;
  name: string;
  file: string;
  /** A function type; or `{ a, b }`, all fields of a type; or a type. */
  states: string;
  kind: 'function' | 'fields' | 'type';
}

const HEAD = /^\| Reference \| Export \| File \| (Signature|Type) \|$/;

function rowsOf(markdown: string): ApiRow[] {
  const rows: ApiRow[] = [];
  let head: string | undefined;
  for (const line of markdown.split('\n')) {
    if (!line.startsWith('|')) head = undefined;
    const title = HEAD.exec(line.replace(/ +/g, ' '))?.[1];
    if (title !== undefined) head = title;
    else if (head !== undefined && !/^\|[-| ]+\|$/.test(line)) rows.push(rowOf(line, head));
  }
  return rows;
}

function rowOf(line: string, head: string): ApiRow {
  const cells = line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('\\|', '|'));
  const [reference = '', name = '', file = '', states = ''] = cells.map((cell) => cell.replace(/^`(.*)`$/, '$1'));
  assert.is(cells.length, 4, line);
  const fields = /^\{[\w, ]+\}$/.test(states);
  return { reference, name, file, states, kind: head === 'Signature' ? 'function' : fields ? 'fields' : 'type' };
}

const ROWS = rowsOf(readFileSync(join(REPOSITORY, 'docs', 'api.md'), 'utf8'));

/** Types that signatures name without having a row of their own. */
const OTHER_TYPES: Readonly<Record<string, readonly string[]>> = {
  'features/detect.ts': ['DriveEvent'],
  'features/groups.ts': ['Pair'],
  'features/history.ts': ['Control', 'FileAction', 'GroupStatistics', 'HistoryFilter'],
  'features/plan.ts': ['Plan'],
  'features/restore.ts': ['RestoreFlags', 'PruneFlags', 'PruneResult'],
  'features/origin.ts': ['Version'],
  'features/status.ts': ['Status'],
  'features/targets.ts': ['Choice', 'Target'],
  'features/watch.ts': ['WatchRow', 'WatcherOptions', 'WatchListener'],
  'shared/keyring.ts': ['RingSecret'],
  'features/doctor.ts': ['Check'],
  'features/daemon.ts': ['DaemonDeps', 'DaemonStatus'],
  'features/log.ts': ['LogFilter', 'LogLine'],
  'features/metrics.ts': ['MetricsAddress'],
  'features/schedule.ts': ['NewSchedule', 'SchedulerDeps', 'Upcoming'],
  'features/settings.ts': ['Setting', 'SettingChanges'],
  'features/job.ts': ['Deeds', 'JobResult'],
  'features/notify.ts': ['NoticeInput', 'ChannelResult'],
  'features/demo.ts': ['DemoOptions', 'DemoResult'],
  'shared/context.ts': ['ContextOptions'],
  'shared/settings.ts': ['VirtualDriveSetting'],
};

/** A module that compiles only when every row holds; line by line, so that an error names its row. */
function claims(rows: readonly ApiRow[]): { text: string; rowAt: Map<number, ApiRow> } {
  const from = (file: string): string => JSON.stringify(join(REPOSITORY, file));
  const lines = [
    'type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;',
    'type Keys<T> = keyof { [K in keyof T]-?: 1 };',
    ...Object.entries(OTHER_TYPES).map(([file, names]) => `import type { ${names.join(', ')} } from ${from(file)};`),
  ];
  const rowAt = new Map<number, ApiRow>();
  for (const row of rows.filter(({ kind }) => kind !== 'function')) {
    lines.push(`import type { ${row.name} } from ${from(row.file)};`);
    rowAt.set(lines.length, row);
  }
  for (const [index, row] of rows.entries()) {
    const left =
      row.kind === 'function'
        ? `typeof import(${from(row.file)}).${row.name}`
        : row.kind === 'fields'
          ? `Keys<${row.name}>`
          : row.name;
    const fields = row.states.replace(/[{} ]/g, '').split(',');
    const right = row.kind === 'fields' ? fields.map((field) => `'${field}'`).join(' | ') : row.states;
    lines.push(`export const claim${index}: Same<${left}, ${right}> = true;`);
    rowAt.set(lines.length, row);
  }
  return { text: `${lines.join('\n')}\n`, rowAt };
}

/** The rows that do not hold, with the compiler's words. Errors elsewhere in the program are not its business. */
function refuted(rows: readonly ApiRow[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-api-'));
  try {
    const { text, rowAt } = claims(rows);
    writeFileSync(join(folder, 'claims.mts'), text);
    const compilerOptions = { typeRoots: [join(REPOSITORY, 'node_modules', '@types')] };
    const config = { extends: join(REPOSITORY, 'tsconfig.json'), include: [], files: ['claims.mts'], compilerOptions };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const tsc = join(REPOSITORY, 'node_modules', '.bin', 'tsc');
    const { stdout, stderr } = spawnSync(tsc, ['-p', folder, '--pretty', 'false'], { cwd: folder, encoding: 'utf8' });
    assert.is(stderr, '');
    assert.not.match(stdout, /^error /m);
    return [...stdout.matchAll(/^claims\.mts\((\d+),\d+\): (error .*)$/gm)].map(([, line, error]) => {
      const row = rowAt.get(Number(line));
      return row ? `${row.reference}: ${row.name} of ${row.file}: ${error}` : `line ${line}: ${error}`;
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('every row holds, to the letter', () => {
  assert.ok(ROWS.length >= 55, `${ROWS.length} rows`);
  assert.equal(refuted(ROWS), []);
});

test('every function is there at run time', async () => {
  for (const { name, file, kind } of ROWS) {
    const module = (await import(join(REPOSITORY, file))) as Record<string, unknown>;
    if (kind === 'function') assert.type(module[name], 'function', `${name} of ${file}`);
    else assert.is(module[name], undefined, `${name} of ${file} is a type`);
  }
});

test('a wrong row is found: name, parameter, result, field, missing field, member', () => {
  const file = 'features/groups.ts';
  const row = (name: string, kind: ApiRow['kind'], states: string): ApiRow => ({
    reference: name,
    name,
    file,
    kind,
    states,
  });
  const wrong = [
    row('noSuchFunction', 'function', '() => void'),
    row('getGroup', 'function', '(query: number, ctx: Context) => Group'),
    row('getGroup', 'function', '(query: string, ctx: Context) => Promise<Group>'),
    row('Group', 'fields', '{ id, name, created, modified, description, master_drive, backup_drive, options, more }'),
    row('DriveIdentity', 'fields', '{ serial_number, label, total_size }'),
    row('Role', 'type', "'master' | 'backup' | 'spare'"),
  ];
  const known = ROWS.filter(({ name, kind }) => kind !== 'function' && !wrong.some((one) => one.name === name));
  const found = refuted([...known, ...wrong]);
  for (const { name } of wrong)
    assert.ok(
      found.some((text) => text.startsWith(`${name}: `)),
      name,
    );
  assert.is(found.length, wrong.length, found.join('\n'));
});

test("the references' names of this version are all there", () => {
  const names = new Set(ROWS.map(({ reference }) => reference));
  const expected =
    'create_group list_groups get_group update_group delete_group resolve_drive get_backup_path get_drive_role sync_to_backup ' +
    'detect_conflicts verify_sync_status get_sync_history DriveIdentity.matches DriveGroup.get_drive_by_role ' +
    'calculate_checksum needs_sync update_file_record start_sync_operation complete_sync_operation SyncStatistics FileConflict ' +
    'DriveGroup DriveIdentity DriveRole add_interval_schedule add_cron_schedule list_schedules pause_schedule ' +
    'resume_schedule remove_schedule SyncSchedule';
  assert.equal(
    expected.split(' ').filter((name) => !names.has(name)),
    [],
  );
});

test.run();
