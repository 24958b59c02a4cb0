/** Watching what is sealed, what lies on several groups, and what is not there yet. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listOperations } from '../features/history.ts';
import { initKeyring } from '../features/keyring.ts';
import { createProject } from '../features/projects.ts';
import { restoreFromBackup } from '../features/restore.ts';
import { targetsOf } from '../features/targets.ts';
import { listRealtimeWatchers, Watcher, watchTargets } from '../features/watch.ts';
import { ROLES, withStudio } from './helpers/film.ts';
import { archive, refusal, withPair } from './helpers/pair.ts';
import { contents, LZ4, SEALED, setForm } from './helpers/stored.ts';
import { pause, until, watched } from './helpers/watching.ts';

const test = suite('watch groups');

test('of a sealed group every change arrives sealed, with the key from its file alone; a rename stays one', () =>
  withPair({ master: { 'a/clip.mov': 'a first take', 'a/gone.txt': 'to be deleted' } }, async (pair) => {
    const password = 'a password of the tests';
    const file = join(pair.box.root, 'password');
    writeFileSync(file, `${password}\n`, { mode: 0o600 });
    await initKeyring(archive(pair.ctx).group, { kind: 'password', password }, pair.ctx);
    await setForm(pair, { ...LZ4, ...SEALED, encryption_password_file: file });
    const names = (): string[] => readdirSync(join(pair.backup, 'a'), { recursive: true }).map(String).sort();
    const sealedAs = (...wanted: string[]): Promise<void> =>
      until(() => names().join() === wanted.join() || names().join());

    writeFileSync(file, 'another one\n');
    const wrong = new Watcher(archive(pair.ctx), pair.context(), {});
    assert.equal([(await refusal(wrong.start())).code, wrong.state], ['key', 'stopped']);
    writeFileSync(file, `${password}\n`);

    await watched(pair, { secondLook: 1 }, async ({ operations }) => {
      const at = (path: string): string => join(pair.master, 'a', path);
      await sealedAs('clip.mov.lz4.encrypted', 'gone.txt.lz4.encrypted');
      writeFileSync(at('new.txt'), 'a word that nobody may read\n'.repeat(100));
      writeFileSync(at('clip.mov'), 'a second take');
      await sealedAs('clip.mov.lz4.encrypted', 'gone.txt.lz4.encrypted', 'new.txt.lz4.encrypted');
      mkdirSync(at('day'));
      renameSync(at('new.txt'), at('day/named.txt'));
      rmSync(at('gone.txt'));
      await sealedAs('clip.mov.lz4.encrypted', 'day', 'day/named.txt.lz4.encrypted');
      await until(async () => (await listOperations({ status: 'running', limit: 1 }, pair.ctx)).length === 0);
      const all = await operations();
      const sum = (field: 'files_moved' | 'files_deleted' | 'files_failed'): number =>
        all.reduce((total, one) => total + one[field], 0);
      assert.equal([sum('files_moved'), sum('files_deleted'), sum('files_failed')], [1, 1, 0]);
    });
    const stored = readFileSync(join(pair.backup, 'a/day/named.txt.lz4.encrypted'));
    assert.not.ok(stored.includes('nobody may read'));
    const to = join(pair.box.root, 'restored');
    await restoreFromBackup('Archive', { to }, pair.ctx);
    assert.equal(contents(to), contents(pair.master));
  }));

test('each role of a project is watched on its own drives; one that is away keeps no other waiting and is made up for', () =>
  withStudio(async (studio) => {
    const { at } = studio;
    await createProject(
      { name: 'Film', path: 'Film', roles: ['footage=Footage', 'renders=Renders:out', 'assets=Assets'] },
      studio.ctx,
    );
    const folders = { footage: 'Film/footage', renders: 'Film/out', assets: 'Film/assets' } as const;
    for (const role of ROLES)
      studio.edit(role, 'master', { [`${folders[role]}/first`]: role, 'beside/it': 'of nobody' });
    const ending = new AbortController();
    const ctx = studio.context({ signal: ending.signal });
    const states: Record<string, string> = {};
    const listener = {
      state: (name: string, state: string) => Object.assign(states, { [name]: state }),
      synced: () => {},
    };
    const back = studio.unplug('assets', 'backup');
    const watching = watchTargets(await targetsOf('Film', {}, ctx), { debounce: 0.2 }, listener, ctx);
    const arrives = (role: (typeof ROLES)[number], name: string): Promise<void> =>
      until(() => existsSync(at(role, 'backup', `${folders[role]}/${name}`)) || JSON.stringify(states));
    try {
      await arrives('footage', 'first');
      await arrives('renders', 'first');
      const rows = async (): Promise<string[]> =>
        (await listRealtimeWatchers(studio.ctx)).map(({ role, status }) => `${role} ${status}`).sort();
      const reach = (...wanted: string[]): Promise<void> =>
        until(async () => (await rows()).join() === wanted.join() || (await rows()).join());
      await reach('assets waiting for drive', 'footage active', 'renders active');
      for (const role of ROLES) writeFileSync(at(role, 'master', `${folders[role]}/second`), role);
      await arrives('footage', 'second');
      await arrives('renders', 'second');
      back();
      await arrives('assets', 'second');
      await reach('assets active', 'footage active', 'renders active');
      writeFileSync(at('assets', 'master', 'Film/assets/third'), '');
      await arrives('assets', 'third');
    } finally {
      ending.abort();
      await watching;
    }
    assert.equal(await listRealtimeWatchers(studio.ctx), [], 'nothing stays that only the foreground watched');
    for (const role of ROLES) assert.not.ok(existsSync(at(role, 'backup', 'beside')), 'only what is of the project');
  }));

test('a folder that is not there is said, and is watched when it comes', () =>
  withPair({ master: { 'a/x': '1' } }, async (pair) => {
    const watcher = new Watcher({ ...archive(pair.ctx), subpath: 'none' as never }, pair.ctx, {
      scanEvery: 1,
      debounce: 0.2,
    });
    try {
      await watcher.start();
      await until(() => watcher.state.startsWith('degraded') || watcher.state);
      // It comes into being after all.
      mkdirSync(join(pair.master, 'none'));
      writeFileSync(join(pair.master, 'none/x'), '1');
      await until(() => existsSync(join(pair.backup, 'none/x')));
      await until(() => watcher.state === 'active' || watcher.state);
      await pause(300);
      writeFileSync(join(pair.master, 'none/y'), '1');
      await until(() => existsSync(join(pair.backup, 'none/y')));
    } finally {
      await watcher.close();
    }
  }));

test.run();
