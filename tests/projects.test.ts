/** Projects: where they lie, what is refused, how they travel, and that every command works on them. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listFolders } from '../features/catalog.ts';
import { listConflicts, resolveConflicts } from '../features/conflicts.ts';
import { findDrive, listDrives } from '../features/detect.ts';
import { getGroup, listGroups, setGroupOptions } from '../features/groups.ts';
import { getOperation, listOperations, partsOfOperation } from '../features/history.ts';
import { projectChecks } from '../features/orphans.ts';
import {
  createGroupForProject,
  createProject,
  deleteProject,
  getProject,
  listProjects,
  openProject,
  type ProjectPlace,
  projectOptions,
  readProjectRows,
  setProjectOptions,
  updateProject,
} from '../features/projects.ts';
import { reportProject } from '../features/report.ts';
import { listVersions, planRestore, restoreFromBackup, undoOperation } from '../features/restore.ts';
import { setControl } from '../features/steering.ts';
import { applySavedPlan, planSync, readPlan, syncToBackup } from '../features/sync.ts';
import { optionSources, targetsOf } from '../features/targets.ts';
import { verifyFiles } from '../features/verify.ts';
import { mergeProjects, type Project, readProjects } from '../shared/projects-file.ts';
import { carriedBy, ROLES, type Studio, withStudio } from './helpers/film.ts';
import './helpers/inline-workers.ts';
import { refusal } from './helpers/pair.ts';
import './helpers/property.ts';

const test = suite('projects');

const FILM = { name: 'Film', path: 'Film', roles: ['footage=Footage', 'renders=Renders:out', 'assets=Assets'] };

async function film(studio: Studio): Promise<Project> {
  const { project } = await createProject(FILM, studio.ctx);
  studio.edit('footage', 'master', { 'Film/footage/a.mov': 'footage', 'Other/x': 'not of the film' });
  studio.edit('renders', 'master', { 'Film/out/cut.mov': 'render' });
  studio.edit('assets', 'master', { 'Film/assets/logo.png': 'asset' });
  return project;
}

const read = (path: string): string | null => (existsSync(path) ? readFileSync(path, 'utf8') : null);

test('a project has exactly the fields of the reference and ours, in YAML and on both drives', () =>
  withStudio(async ({ ctx, box, at }) => {
    const { project, made } = await createProject({ name: 'Wedding', path: 'Projects/Wedding', group: 'Footage' }, ctx);
    assert.equal(made, [at('footage', 'master', 'Projects/Wedding')]);
    assert.is(statSync(at('footage', 'master', 'Projects')).mode & 0o777, 0o777 & ~process.umask());
    const fields = ['id', 'name', 'path', 'storage_group_id', 'description', 'created_at', 'modified', 'options'];
    for (const side of ['master', 'backup'] as const) {
      const { projects } = carriedBy(at('footage', side));
      assert.equal(Object.keys(projects[0] ?? {}), fields);
      assert.equal(projects[0], project);
    }
    assert.not(existsSync(at('renders', 'master', '.tandem/projects.json')));
    const yaml = readFileSync(join(box.config, 'projects.yaml'), 'utf8');
    assert.match(yaml, /storage_group_id: "/);
    const { project: second } = await createProject(FILM, ctx);
    assert.equal(
      second.storage_groups?.map(({ role, subpath }) => [role, subpath]),
      [
        ['footage', 'footage'],
        ['renders', 'out'],
        ['assets', 'assets'],
      ],
    );
    assert.is(carriedBy(at('renders', 'backup')).projects.length, 1);
  }));

test('folders of a drive are listed, without links, what is never synced, or a way off the drive', () =>
  withStudio(async ({ ctx, box, at }) => {
    const drive = findDrive('footage-master', await listDrives(ctx));
    for (const name of ['P/b', 'P/A', 'P/10', 'P/9', '.Trash-1000/x', 'a\u001b[31m\nb'])
      mkdirSync(at('footage', 'master', name), { recursive: true });
    writeFileSync(at('footage', 'master', 'P/file'), '');
    symlinkSync(box.config, at('footage', 'master', 'P/link'));
    assert.equal(listFolders(drive, '').names, ['a\u001b[31m\nb', 'P']);
    assert.equal(listFolders(drive, 'P'), { names: ['9', '10', 'A', 'b'], more: false });
    assert.equal(listFolders(drive, 'P', 2), { names: ['9', '10'], more: true });
    const folders = async (path: string) => listFolders(drive, path);
    for (const path of ['..', 'P/../..', '/etc', 'P/link', 'P/file'])
      assert.is((await refusal(folders(path))).code, 'invalid', path);
    assert.is((await refusal(folders('P/none'))).code, 'not_found');
  }));

test('projects that a drive brings are shown without being written down', () =>
  withStudio(async ({ ctx, elsewhere }) => {
    const { project } = await createProject({ name: 'Wedding', path: 'Wedding', group: 'Footage' }, ctx);
    const other = elsewhere();
    const [row] = await readProjectRows(other.ctx);
    assert.is(row?.id, project.id);
    assert.not(existsSync(join(other.box.config, 'projects.yaml')));
    await setProjectOptions('Wedding', ['mhl=true'], undefined, ctx);
    await setGroupOptions('Footage', ['verify_checksums=size'], undefined, ctx);
    const [part] = projectOptions(await getProject('Wedding', ctx), ctx);
    const of = (key: string) => part?.options.find((one) => one.key === key);
    assert.equal(
      [of('mhl')?.source, of('verify_checksums')?.source, of('incremental')?.source],
      ['project', 'group', 'default'],
    );
  }));

test("the reference's own file is read: no id, no modified, an absolute path on a drive", () =>
  withStudio(async ({ ctx, box, at }) => {
    const { id } = getGroup('Footage', ctx);
    const project = (name: string, path: string): string =>
      `  - name: ${name}\n    path: ${JSON.stringify(path)}\n    storage_group_id: ${id}\n    description: "My photography project" # mine\n    created_at: "2026-01-12T10:00:00Z"\n`;
    const text = `# kept\nprojects:\n${project('One', at('footage', 'master', 'P/One'))}${project('Two', 'D:/pyMM.Projects/Two')}`;
    writeFileSync(join(box.config, 'projects.yaml'), text);
    const rows = await listProjects(ctx);
    assert.equal(
      rows.map(({ name, path, status }) => [name, path, status]),
      [
        ['One', 'P/One', 'connected'],
        ['Two', 'pyMM.Projects/Two', 'connected'],
      ],
    );
    const after = readFileSync(join(box.config, 'projects.yaml'), 'utf8');
    assert.match(after, /# kept[\s\S]*# mine/);
    assert.is(
      readFileSync(join(box.config, 'projects.yaml.v0.bak'), 'utf8'),
      text,
      'the file of before versions is kept',
    );
    assert.equal(
      (await listProjects(ctx)).map(({ id: one }) => one),
      rows.map(({ id: one }) => one),
    );
  }));

test('a plain folder is a project, opens, and is refused what needs drives', () =>
  withStudio(async ({ ctx, box }) => {
    mkdirSync(join(box.root, 'notes'));
    await createProject({ name: 'Notes', path: join(box.root, 'notes') }, ctx);
    const opened = { role: null, group_id: null, path: join(box.root, 'notes'), drive: null, access: 'primary' };
    assert.equal(await openProject('Notes', {}, ctx), [opened]);
    assert.match((await refusal(syncToBackup('Notes', {}, ctx))).message, /plain folder without a group/);
    assert.is((await reportProject('Notes', ctx)).safe_to_format, false);
    const missing = await refusal(createProject({ name: 'None', path: join(box.root, 'none') }, ctx));
    assert.is(missing.code, 'not_found');
  }));

const REFUSED: [string, ProjectPlace & { name?: string }, RegExp][] = [
  ['inside another project', { path: 'Projects/Wedding/Day1', group: 'Footage' }, /lie in one another/],
  ['around another project', { path: 'Projects', group: 'Footage' }, /lie in one another/],
  ['another spelling of its folder', { path: 'projects/WEDDING', group: 'Footage' }, /lie in one another/],
  ['the whole drive that others lie on', { path: '', group: 'Footage' }, /lie in one another/],
  ['out of the drive', { path: '../x', group: 'Footage' }, /not a path inside a drive/],
  ['out of the drive with a role', { path: 'X', roles: ['a=Footage:../../x'] }, /not a path inside a drive/],
  ['through a link', { path: 'link/x', group: 'Footage' }, /is a link, which could lead off the drive/],
  ['a file', { path: 'file', group: 'Footage' }, /is no folder/],
  ["tandem's own folder", { path: '.tandem/x', group: 'Footage' }, /never synced/],
  ['elsewhere on this computer', { path: '/etc', group: 'Footage' }, /is not on a drive of group/],
  ['a role named twice', { path: 'X', roles: ['a=Footage', 'A=Renders'] }, /named twice/],
  ['roles in one another', { path: 'X', roles: ['a=Footage:f', 'b=Footage:f/deep'] }, /lie in one another/],
  ['a group and roles', { path: 'X', group: 'Footage', roles: ['a=Footage'] }, /either a group or roles/],
  ['no ROLE=GROUP', { path: 'X', roles: ['Footage'] }, /not ROLE=GROUP/],
  ['an unknown group', { path: 'X', group: 'Fotage' }, /No group is called/],
  ['the name of a project', { name: 'wedding', path: 'X', group: 'Footage' }, /already called/],
  ['the name of a group', { name: 'footage', path: 'X', group: 'Footage' }, /already called/],
];

test('what no project may be: each is refused with a sentence, and nothing is written', () =>
  withStudio(async ({ ctx, at, box }) => {
    await createProject({ name: 'Wedding', path: 'Projects/Wedding', group: 'Footage' }, ctx);
    symlinkSync('/etc', at('footage', 'master', 'link'));
    writeFileSync(at('footage', 'master', 'file'), 'x');
    const before = readFileSync(join(box.config, 'projects.yaml'), 'utf8');
    for (const [what, place, message] of REFUSED) {
      const error = await refusal(createProject({ name: 'Other', ...place }, ctx));
      assert.match(error.message, message, what);
      assert.ok(error.hint, what);
    }
    assert.is(readFileSync(join(box.config, 'projects.yaml'), 'utf8'), before);
    const { project } = await createProject({ name: 'Second', path: 'Projects/Second', group: 'Footage' }, ctx);
    const moved = await refusal(updateProject(project.id, { path: 'Projects/Wedding' }, ctx));
    assert.match(moved.message, /lie in one another/);
    assert.is((await getProject('Second', ctx)).path, 'Projects/Second');
  }));

test('the drive resolution flow: Master, Backup by question or flag, neither', () =>
  withStudio(async (studio) => {
    const { ctx, at, box } = studio;
    await film(studio);
    const one = (side: 'master' | 'backup'): object => ({
      role: 'footage',
      group_id: getGroup('Footage', ctx).id,
      path: at('footage', side, 'Film/footage'),
      drive: side,
      access: side === 'master' ? 'primary' : 'fallback',
    });
    assert.equal(await openProject('Film', { role: 'footage' }, ctx), [one('master')]);
    const back = studio.unplug('footage', 'master');
    const never = await refusal(openProject('Film', { role: 'footage', use: 'use-backup' }, ctx));
    assert.match(never.message, /is not on 'footage-backup'/);
    back();
    await syncToBackup('Film', {}, ctx);
    const again = studio.unplug('footage', 'master');
    assert.equal(await openProject('Film', { role: 'footage', use: 'use-backup' }, ctx), [one('backup')]);
    assert.is((await refusal(openProject('Film', { role: 'footage', use: 'no-backup' }, ctx))).code, 'drive_missing');
    const asked = await refusal(openProject('Film', { role: 'footage' }, ctx));
    assert.match(asked.hint ?? '', /--use-backup or --no-backup/);
    for (const [answer, code] of [
      [true, undefined],
      [false, 'drive_missing'],
    ] as const) {
      const prompts = { ...ctx.prompts, interactive: true, confirm: () => Promise.resolve(answer) };
      const opened = openProject('Film', { role: 'footage' }, studio.context({ prompts }));
      if (code === undefined) assert.equal(await opened, [one('backup')]);
      else assert.is((await refusal(opened)).code, code);
    }
    const shown = await box.run(['projects', 'open', 'Film', '--role', 'footage', '--use-backup']);
    assert.match(shown.stdout, /⚠ Backup: .*conflicts/);
    const away = studio.unplug('footage', 'backup');
    const none = await box.run(['projects', 'open', 'Film', '--use-backup', '--json']);
    assert.is(none.code, 5);
    assert.match(none.stderr + none.stdout, /No drives available for 'Footage'/);
    away();
    again();
    assert.is((await refusal(openProject('Film', { role: 'sound' }, ctx))).code, 'not_found');
  }));

test('roles are synced as one operation with a part for each; a part that cannot run does not keep the others', () =>
  withStudio(async (studio) => {
    const { ctx, at, box } = studio;
    await film(studio);
    const result = await syncToBackup('Film', {}, ctx);
    assert.equal(
      [result.target, result.status, result.files_copied, result.parts?.length],
      ['Film', 'completed', 3, 3],
    );
    assert.is(read(at('renders', 'backup', 'Film/out/cut.mov')), 'render');
    assert.not(existsSync(at('footage', 'backup', 'Other')), 'only what is of the project');
    const [whole] = await listOperations({ limit: 1, whole: true }, ctx);
    assert.equal([whole?.uuid, whole?.target_kind, whole?.target_name], [result.operation_id, 'project', 'Film']);
    assert.equal([whole?.parts, whole?.files_copied, whole?.status], [3, 3, 'completed']);
    const parts = await partsOfOperation(await getOperation(result.operation_id, ctx), ctx);
    assert.equal(parts.map(({ role }) => role).sort(), [...ROLES].sort());
    assert.is((await listOperations({ limit: 'all' }, ctx)).length, 3, 'sums are counted once');
    const back = studio.unplug('renders', 'backup');
    studio.edit('footage', 'master', { 'Film/footage/b.mov': 'more' });
    const partly = await box.run(['sync', 'run', 'Film', '--json']);
    assert.is(partly.code, 4, partly.stderr);
    const said = partly.json() as {
      status: string;
      files_copied: number;
      problems: { path: string; message: string }[];
    };
    assert.equal([said.status, said.files_copied], ['failed', 1]);
    assert.match(said.problems[0]?.message ?? '', /renders-backup' of group 'Renders' is not connected/);
    assert.is((await box.run(['sync', 'run', 'Film', '--role', 'renders'])).code, 5, 'alone it is a missing drive');
    back();
    assert.is((await syncToBackup('Film', { role: 'footage', path: 'b.mov' }, ctx)).files_skipped, 1);
    assert.is((await refusal(syncToBackup('Film', { path: 'b.mov' }, ctx))).code, 'usage');
    assert.is((await refusal(syncToBackup('Film', { role: 'sound' }, ctx))).code, 'not_found');
    assert.is((await refusal(syncToBackup('Footage', { role: 'footage' }, ctx))).code, 'usage');
  }));

test('conflicts, restore, verify and undo work on a project; its paths count from its folder', () =>
  withStudio(async (studio) => {
    const { ctx, at } = studio;
    await film(studio);
    await syncToBackup('Film', {}, ctx);
    studio.edit('footage', 'backup', { 'Film/footage/a.mov': 'edited on the Backup' });
    studio.edit('renders', 'backup', { 'Film/out/cut.mov': 'render on the Backup' });
    assert.is((await syncToBackup('Film', {}, ctx)).conflicts_detected, 2);
    const waiting = await listConflicts('Film', undefined, ctx);
    assert.equal(
      waiting.map(({ target, path }) => [target, path]),
      [
        ['Film (footage)', 'Film/footage/a.mov'],
        ['Film (renders)', 'Film/out/cut.mov'],
      ],
    );
    assert.is((await listConflicts('Film', undefined, ctx, 'renders')).length, 1);
    const settled = await resolveConflicts('Film', { 'a.mov': 'keep_backup', 'Film/out/cut.mov': 'keep_master' }, ctx);
    assert.equal([settled.status, settled.problems, settled.parts?.length], ['completed', [], 2]);
    assert.is(read(at('footage', 'master', 'Film/footage/a.mov')), 'edited on the Backup');
    assert.is(read(at('renders', 'backup', 'Film/out/cut.mov')), 'render');
    assert.is((await listVersions('Film', 'a.mov', ctx, 'footage')).length, 1);
    rmSync(at('assets', 'master', 'Film/assets/logo.png'));
    const plans = await planRestore('Film', {}, ctx);
    assert.equal(
      plans.map(({ totals }) => totals.copy),
      [0, 0, 1],
    );
    assert.is((await refusal(restoreFromBackup('Film', { paths: ['logo.png'] }, ctx))).code, 'usage');
    const restored = await restoreFromBackup('Film', { paths: ['Film/assets/logo.png'] }, ctx);
    assert.equal([restored.status, restored.files_copied], ['completed', 1]);
    const verified = await verifyFiles('Film', { side: 'backup' }, ctx);
    assert.equal([verified.status, verified.files_verified, verified.findings], ['completed', 3, []]);
    studio.edit('footage', 'master', { 'Film/footage/new.mov': 'new' });
    studio.edit('assets', 'master', { 'Film/assets/new.png': 'new' });
    const run = await syncToBackup('Film', {}, ctx);
    assert.is(run.files_copied, 2);
    const undone = await undoOperation(run.operation_id, {}, ctx);
    assert.is(undone.status, 'completed', JSON.stringify(undone.problems));
    assert.not(existsSync(at('footage', 'backup', 'Film/footage/new.mov')));
    assert.not(existsSync(at('assets', 'backup', 'Film/assets/new.png')));
    const to = join(studio.box.root, 'to');
    assert.is((await restoreFromBackup('Film', { to }, ctx)).status, 'completed');
    assert.is(read(join(to, 'Film/out/cut.mov')), 'render');
  }));

test('a plan of a project can be saved and run; one that was edited into nonsense cannot', () =>
  withStudio(async (studio) => {
    const { ctx, box } = studio;
    await film(studio);
    assert.is((await refusal(planSync('Film', {}, ctx))).code, 'usage', 'each role has a plan of its own');
    const file = join(box.root, 'plan.json');
    const made = await box.run(['sync', 'plan', 'Film', '--role', 'footage', '--out', file]);
    assert.is(made.code, 0, made.stderr);
    const plan = readPlan(file);
    assert.equal([plan.target.kind, plan.target.name, plan.target.role], ['project', 'Film', 'footage']);
    assert.is((await applySavedPlan(plan, [], {}, ctx)).files_copied, 1);
    for (const wrong of [{ kind: 'disk' }, { kind: 'project', project_id: 1 }, { role: 5 }]) {
      writeFileSync(file, JSON.stringify({ ...plan, target: { ...plan.target, ...wrong } }));
      assert.throws(() => readPlan(file), /is not a plan that can be run/);
    }
  }));

test("a project's options go over its group's, flags over both, and the drives carry the group's own", () =>
  withStudio(async (studio) => {
    const { ctx, at } = studio;
    await film(studio);
    await setGroupOptions('Footage', ['verify_checksums=size', 'on_master_delete=trash'], undefined, ctx);
    await setProjectOptions('Film', ['verify_checksums=checksum', 'filters.exclude=*.tmp'], undefined, ctx);
    const [target] = await targetsOf('Film', { role: 'footage' }, ctx);
    const sources = optionSources((await getProject('Film', ctx)).options, getGroup('Footage', ctx).options);
    const of = (key: string): unknown[] => Object.values(sources.find((one) => one.key === key) ?? {});
    assert.equal(of('verify_checksums'), ['verify_checksums', 'checksum', 'project']);
    assert.equal(of('on_master_delete'), ['on_master_delete', 'trash', 'group']);
    assert.equal(of('incremental'), ['incremental', true, 'default']);
    assert.is(target?.group.options.verify_checksums, 'checksum');
    studio.edit('footage', 'master', { 'Film/footage/x.tmp': 'x' });
    const result = await syncToBackup('Film', { role: 'footage' }, ctx);
    assert.ok(['cache', 'device'].includes(result.verified));
    assert.not(existsSync(at('footage', 'backup', 'Film/footage/x.tmp')));
    await syncToBackup('Footage', {}, ctx);
    assert.ok(existsSync(at('footage', 'backup', 'Film/footage/x.tmp')), "the group's own run goes by the group's");
    const state = JSON.parse(readFileSync(at('footage', 'master', '.tandem/state/state.json'), 'utf8')) as {
      group: { options: object };
    };
    assert.equal(state.group.options, { verify_checksums: 'size', on_master_delete: 'trash' });
    assert.equal(getGroup('Footage', ctx).options, { verify_checksums: 'size', on_master_delete: 'trash' });
    await setProjectOptions('Film', ['verify_checksums='], undefined, ctx);
    const [after] = await targetsOf('Film', { role: 'footage' }, ctx);
    assert.is(after?.group.options.verify_checksums, 'size');
    assert.is((await refusal(setProjectOptions('Film', ['verify=1'], undefined, ctx))).code, 'usage');
  }));

test('how files are stored on the Backup belongs to the group: a project cannot state it, and has it from there', () =>
  withStudio(async (studio) => {
    const { ctx, box } = studio;
    await film(studio);
    const words = ['enable_compression=true', 'compression_type=lz4', 'compression_level=3', 'enable_encryption=true'];
    const more = ['encryption_type=aes-256-gcm', 'encryption_key_file=/k', 'encryption_password_file='];
    for (const word of [...words, ...more]) {
      const error = await refusal(setProjectOptions('Film', [word], undefined, ctx));
      assert.equal([error.code, /belongs to the group/.test(error.message)], ['usage', true], word);
      assert.match(error.hint ?? '', /tandem groups set/);
    }
    const { keys, elsewhere } = await setProjectOptions('Film', ['calculate_space_savings=no'], 'archive', ctx);
    assert.equal(keys, ['incremental', 'calculate_space_savings']);
    assert.equal(elsewhere, ['enable_compression=true', 'compression_level=9', 'enable_encryption=true']);
    await setGroupOptions('Footage', ['compression_type=lz4', 'compression_level=12'], undefined, ctx);
    const [target] = await targetsOf('Film', { role: 'footage' }, ctx);
    assert.equal(
      [
        target?.group.options.compression_type,
        target?.group.options.compression_level,
        target?.group.options.incremental,
      ],
      ['lz4', 12, false],
    );
    const file = join(box.config, 'projects.yaml');
    const good = readFileSync(file, 'utf8');
    const cases: [string, RegExp][] = [
      ['enable_encryption: true', /projects\.yaml:(\d+):\d+: .*options\.enable_encryption: belongs to the group/],
      ['compression_level: 3', /projects\.yaml:(\d+):\d+: .*options\.compression_level: belongs to the group/],
      ['password: hunter2', /projects\.yaml:(\d+):\d+: .*options\.password: .*a secret is never kept/],
    ];
    for (const [text, message] of cases) {
      const edited = good.replace(/calculate_space_savings: .*/, text);
      writeFileSync(file, edited);
      const error = await refusal((async () => readProjects(ctx))());
      assert.is(error.code, 'config');
      const line = Number(message.exec(error.message)?.[1]);
      assert.match(edited.split('\n')[line - 1] ?? '', text, error.message);
      assert.not.match(error.message, /hunter2/);
    }
  }));

test('projects travel with their drives: found on another computer, the later change counts, what was deleted stays so', () =>
  withStudio(async (studio) => {
    const { ctx, at } = studio;
    const project = await film(studio);
    await syncToBackup('Film', {}, ctx);
    const other = studio.elsewhere();
    const found = await listProjects(other.ctx);
    assert.equal(
      found.map(({ name, status }) => [name, status]),
      [['Film', 'unknown_group']],
    );
    assert.match((await refusal(openProject('Film', {}, other.ctx))).hint ?? '', /groups adopt/);
    for (const role of ROLES) assert.is((await other.box.run(['groups', 'adopt', `${role}-master`])).code, 0);
    assert.equal(
      (await openProject('Film', {}, other.ctx)).map(({ role }) => role),
      [...ROLES],
    );
    await updateProject('Film', { name: 'Feature' }, other.ctx);
    assert.equal(
      (await listProjects(ctx)).map(({ name }) => name),
      ['Feature'],
    );
    const back = studio.unplug('footage', 'backup');
    await deleteProject('Feature', ctx);
    assert.is(read(at('footage', 'master', 'Film/footage/a.mov')), 'footage', 'no file is touched');
    back();
    assert.is(carriedBy(at('footage', 'backup')).projects.length, 1, 'the drive was away');
    assert.equal(await listProjects(ctx), []);
    assert.is(carriedBy(at('footage', 'backup')).projects.length, 1, 'a list only reads the drives');
    await createProject({ name: 'Next', path: 'Next', group: 'Footage' }, ctx);
    assert.equal(
      carriedBy(at('footage', 'backup')).deleted.map(({ id }) => id),
      [project.id],
    );
    assert.equal(
      (await listProjects(other.ctx)).map(({ name }) => name),
      ['Next'],
    );
  }));

test('merging states of projects: the order of the files does not matter, and twice is once', () => {
  const time = fc.integer({ min: 0, max: 5 }).map((second) => `2026-01-01T00:00:0${second}Z`);
  const id = fc.constantFrom('a', 'b', 'c');
  const row = fc.record({ id, modified: time }).map(({ id: one, modified }) => {
    return {
      id: one,
      name: `${one} ${modified}`,
      path: '',
      description: '',
      created_at: modified,
      modified,
      options: {},
    };
  });
  const stone = fc.record({ id, modified: time }).map(({ id: one, modified }) => ({ id: one, modified }));
  const file = fc.record({ projects: fc.array(row, { maxLength: 4 }), deleted: fc.array(stone, { maxLength: 3 }) });
  const sorted = ({ projects, deleted }: ReturnType<typeof mergeProjects>): unknown =>
    [projects, deleted].map((list) => [...list].sort((a, b) => (a.id < b.id ? -1 : 1)));
  fc.assert(
    fc.property(file, file, file, (a, b, c) => {
      const once = mergeProjects([a, b, c]);
      assert.equal(sorted(mergeProjects([c, b, a])), sorted(once));
      assert.equal(sorted(mergeProjects([mergeProjects([a, b]), c])), sorted(once));
      assert.equal(sorted(mergeProjects([once, once])), sorted(once));
      for (const { id: gone, modified } of [...a.deleted, ...b.deleted, ...c.deleted])
        assert.not(
          once.projects.some((one) => one.id === gone && one.modified <= modified),
          'deleted is deleted',
        );
    }),
  );
});

const DAMAGE: [string, (path: string) => void][] = [
  ['cut', (path) => writeFileSync(path, readFileSync(path).subarray(0, 60))],
  [
    'random bytes',
    (path) => writeFileSync(path, Buffer.from(Array.from({ length: 500 }, (_, at) => (at * 7919) % 256))),
  ],
  ['another document', (path) => writeFileSync(path, '[1, 2]')],
  ['a newer version', (path) => writeFileSync(path, '{"version": 2, "projects": []}')],
  ['a role twice', (path) => writeFileSync(path, readFileSync(path, 'utf8').replace('"renders"', '"footage"'))],
  [
    'a link',
    (path) => {
      rmSync(path);
      symlinkSync('/dev/zero', path);
    },
  ],
  [
    'a folder',
    (path) => {
      rmSync(path);
      mkdirSync(path);
    },
  ],
];

for (const [what, harm] of DAMAGE) {
  test(`projects.json on a drive that is ${what}: a warning, and it is left as it is`, () =>
    withStudio(async (studio) => {
      await film(studio);
      const path = studio.at('footage', 'backup', '.tandem/projects.json');
      harm(path);
      const before = what === 'a link' || what === 'a folder' ? null : readFileSync(path);
      const warnings: string[] = [];
      const ctx = studio.context({ emit: (event) => event.kind === 'warning' && warnings.push(event.message) });
      assert.equal(
        (await listProjects(ctx)).map(({ name }) => name),
        ['Film'],
        'the other drives know it',
      );
      await updateProject('Film', { description: 'new' }, ctx);
      assert.match(warnings[0] ?? '', /The projects on the drive 'footage-backup' cannot be used/);
      if (before) assert.equal(readFileSync(path), before);
      assert.is((await syncToBackup('Film', {}, ctx)).status, 'completed');
    }));
}

test('a drive that claims a project outside of itself: nothing leaves the drive', () =>
  withStudio(async (studio) => {
    const { ctx, at, box } = studio;
    await film(studio);
    const path = at('footage', 'backup', '.tandem/projects.json');
    const text = readFileSync(path, 'utf8')
      .replace('"path": "Film"', '"path": "../../etc"')
      .replace(/"modified": "20/, '"modified": "29');
    writeFileSync(path, text);
    for (const error of [await refusal(syncToBackup('Film', {}, ctx)), await refusal(openProject('Film', {}, ctx))])
      assert.match(error.message, /not a path inside a drive/);
    const checks = await projectChecks(listGroups(ctx), ctx);
    assert.equal(
      checks.map(({ status }) => status),
      ['fail'],
    );
    assert.is((await box.run(['projects', 'list'])).code, 0, 'the others can still be seen');
  }));

test('the report: no for each reason, yes when every file was read back; and no drive is read for it', () =>
  withStudio(async (studio) => {
    const { ctx } = studio;
    await film(studio);
    const because = async (): Promise<string> => (await reportProject('Film', ctx)).because.join('; ');
    assert.match(await because(), /footage: it was never synced as a whole/);
    await syncToBackup('Film', {}, ctx);
    assert.match(await because(), /footage: 1 file were never read back/);
    await verifyFiles('Film', { side: 'backup' }, ctx);
    const good = await reportProject('Film', ctx);
    assert.equal([good.safe_to_format, good.files, good.parts.map(({ copies }) => copies['2'])], [true, 3, [1, 1, 1]]);
    for (const role of ROLES) for (const side of ['master', 'backup'] as const) studio.unplug(role, side);
    assert.is((await reportProject('Film', ctx)).safe_to_format, true, 'from the records alone');
  }));

test('the report: a new file, a conflict, a failed run take the yes back', () =>
  withStudio(async (studio) => {
    const { ctx } = studio;
    await film(studio);
    await setProjectOptions('Film', ['verify_checksums=checksum'], undefined, ctx);
    const run = await syncToBackup('Film', {}, ctx);
    const yes = run.verified === 'device';
    assert.is((await reportProject('Film', ctx)).safe_to_format, yes, 'what a run read back counts');
    studio.edit('footage', 'backup', { 'Film/footage/a.mov': 'edited' });
    studio.edit('footage', 'master', { 'Film/footage/a.mov': 'edited too, and longer' });
    await syncToBackup('Film', {}, ctx);
    const report = await reportProject('Film', ctx);
    assert.equal([report.safe_to_format, report.conflicts], [false, 1]);
    assert.equal(report.parts[0]?.copies, { '0': 0, '1': 1, '2': 0 });
    assert.match(report.because.join('; '), /1 conflict wait/);
  }));

test('create-group pairs the drive of a plain project; doctor names orphans; deleting a group names its projects', () =>
  withStudio(async ({ ctx, box, at }) => {
    await box.run(['groups', 'delete', 'Footage', '--yes']);
    mkdirSync(at('footage', 'master', 'Album'));
    await createProject({ name: 'Album', path: at('footage', 'master', 'Album') }, ctx);
    const backup = findDrive('footage-backup', await listDrives(ctx));
    const { project, group } = await createGroupForProject('Album', { backup }, ctx);
    assert.equal([project.path, project.storage_group_id, group.name], ['Album', group.id, 'Album drives']);
    assert.is((await syncToBackup('Album', {}, ctx)).status, 'completed');
    assert.match((await refusal(createGroupForProject('Album', { backup }, ctx))).message, /has a group already/);
    assert.equal(
      (await projectChecks(listGroups(ctx), ctx)).map(({ status }) => status),
      ['ok'],
    );
    const gone = await box.run(['groups', 'delete', 'Album drives', '--yes']);
    assert.match(gone.stdout, /Without a group now: 'Album'/);
    const [orphan] = await projectChecks(listGroups(ctx), ctx);
    assert.equal([orphan?.status, orphan?.name], ['warn', 'project:Album']);
    assert.match((await refusal(syncToBackup('Album', {}, ctx))).message, /is not known here/);
    assert.is((await listProjects(ctx))[0]?.status, 'unknown_group');
  }));

test('a name that is a project and a group is asked about', () =>
  withStudio(async ({ ctx, box }) => {
    await createProject({ name: 'Album', path: 'Album', group: 'Footage' }, ctx);
    assert.is((await box.run(['groups', 'edit', 'Renders', '--name', 'Album'])).code, 0);
    const error = await refusal(syncToBackup('Album', {}, ctx));
    assert.equal([error.code, /the group 'Album' .* and the project 'Album'/.test(error.message)], ['ambiguous', true]);
    const { id } = await getProject('Album', ctx);
    assert.is((await syncToBackup(id, {}, ctx)).status, 'completed');
  }));

test('a part that has not begun when the whole is cancelled does not begin', () =>
  withStudio(async (studio) => {
    const { ctx } = studio;
    await createProject({ name: 'Film', path: 'Film', roles: ['one=Footage', 'two=Footage'] }, ctx);
    const many = Object.fromEntries(Array.from({ length: 3000 }, (_, at) => [`Film/one/f${at}`, 'x'.repeat(200)]));
    studio.edit('footage', 'master', { ...many, 'Film/two/late': 'late' });
    let asked: Promise<void> | undefined;
    const cancel = async (): Promise<void> => {
      const [whole] = await listOperations({ limit: 1, whole: true }, ctx);
      if (whole) await setControl(whole, 'cancel', ctx);
    };
    const watching = studio.context({
      emit: (event) => {
        if (event.kind === 'operation_started') asked ??= cancel();
      },
    });
    const result = await syncToBackup('Film', {}, watching);
    await asked;
    assert.equal([result.status, result.parts?.length], ['cancelled', 1]);
    assert.not(existsSync(studio.at('footage', 'backup', 'Film/two/late')));
    assert.is((await syncToBackup('Film', {}, ctx)).status, 'completed');
  }));

test('cancelling the whole cancels its parts', () =>
  withStudio(async (studio) => {
    const { ctx } = studio;
    await film(studio);
    const many = Object.fromEntries(Array.from({ length: 3000 }, (_, at) => [`Film/footage/f${at}`, 'x'.repeat(200)]));
    studio.edit('footage', 'master', many);
    const running = syncToBackup('Film', {}, studio.context());
    for (;;) {
      const [whole] = await listOperations({ limit: 1, whole: true, status: 'running' }, ctx);
      const parts = whole ? await partsOfOperation(whole, ctx) : [];
      if (whole && parts.some(({ role, status }) => role === 'footage' && status === 'running')) {
        await setControl(whole, 'cancel', ctx);
        break;
      }
      await new Promise((done) => setTimeout(done, 2));
    }
    const result = await running;
    assert.is(result.status, 'cancelled');
    assert.is((await syncToBackup('Film', {}, ctx)).status, 'completed');
  }));

test.run();
