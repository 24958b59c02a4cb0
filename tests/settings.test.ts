/** `tandem settings`: what counts, changes all or none, comments kept, addresses never shown. */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { changeSettings, checkSettings, command, listSettings } from '../features/settings.ts';
import { type Context, createContext } from '../shared/context.ts';
import type { Values, Verb } from '../shared/feature.ts';
import { HIDDEN, rowSpecs, settingSpecs } from '../shared/setting-specs.ts';
import { sandbox } from './helpers/cli.ts';
import { refusal } from './helpers/pair.ts';

const test = suite('settings');

const COMMENTED = `# mine
version: 1
log:
  level: warn # not too much
  # ten of them
  keep: 10

notify:
  channels:
    # the desk at home
    - name: desk
      type: desktop
      events: [failed] # only that
    - name: phone # in the pocket
      type: webhook
      url: https://ntfy.example/my-t0pic
drives:
  virtual:
    # the shelf
    - path: /mnt/nas
      label: NAS
    - { path: /mnt/old, label: 'Old.Disk' }
`;

async function withFile(
  text: string | undefined,
  work: (file: string, ctx: Context) => void | Promise<void>,
): Promise<void> {
  const box = sandbox();
  const ctx = createContext({ configDir: box.config, dataDir: box.data });
  const file = join(box.config, 'app.yaml');
  mkdirSync(box.config, { recursive: true });
  if (text === undefined) rmSync(file, { force: true });
  else writeFileSync(file, text);
  try {
    await work(file, ctx);
  } finally {
    await ctx.close();
    box.cleanup();
  }
}

const run = (verb: string, args: Values, options: Values, ctx: Context) =>
  (command.verbs[verb] as Verb).run({ args, options }, ctx, () => {});

const valueIn = (key: string, ctx: Context): unknown => listSettings(ctx).find((one) => one.key === key)?.value;

test('every setting has a help, a default that may stand, and says what it takes', () =>
  withFile('{}', (_file, ctx) => {
    const all = listSettings(ctx);
    assert.ok(all.length >= 15);
    for (const { key, help, takes, value, default: usual, source } of all) {
      assert.ok(help.length > 10, key);
      assert.ok(takes.length > 3, key);
      assert.is(source, 'default', key);
      assert.equal(value, usual, key);
      assert.is.not(usual, undefined, key);
    }
    for (const { key, help, kind } of rowSpecs('notify.channels'))
      if (kind === 'text' && key !== 'name') assert.ok(help.length > 10, key);
    assert.equal(settingSpecs().find(({ key }) => key === 'dashboard.colours')?.choices, ['auto', '256', '16', '8']);
  }));

test('a change touches its own line: comments, order and the other rows stay as they were', () =>
  withFile(COMMENTED, async (file, ctx) => {
    chmodSync(file, 0o640);
    await changeSettings(
      {
        'log.keep': '20',
        'notify.channels.desk.events': 'failed, overdue',
        'drives.virtual.NAS.path': '/mnt/shelf',
        'dashboard.colours': '16',
      },
      ctx,
    );
    const text = readFileSync(file, 'utf8');
    for (const kept of ['# mine', 'level: warn # not too much', '# ten of them', '# the desk at home', '# the shelf'])
      assert.ok(text.includes(kept), `${kept} in ${text}`);
    assert.match(text, '- name: phone # in the pocket\n      type: webhook\n      url: https://ntfy.example/my-t0pic');
    assert.match(text, /keep: 20\n/);
    assert.match(text, /path: \/mnt\/shelf\n/);
    assert.match(text, /dashboard:\n {2}colours: 16\n/);
    assert.is(statSync(file).mode & 0o777, 0o640);
    assert.is(ctx.settings().log.keep, 20);
    assert.equal(ctx.settings().notify.channels[0]?.events, ['failed', 'overdue']);
    assert.is(ctx.settings().dashboard.colours, 16);
  }));

test('rows come and go by name, also one with a dot in it; the last setting of a section takes it along', () =>
  withFile(COMMENTED, async (file, ctx) => {
    await changeSettings({ 'drives.virtual.Old.Disk': null, 'log.level': null, 'log.keep': null }, ctx);
    assert.not.match(readFileSync(file, 'utf8'), 'log:');
    assert.equal(valueIn('drives.virtual', ctx), [{ path: '/mnt/nas', label: 'NAS' }]);
    await changeSettings(
      { 'notify.channels.script.type': 'command', 'notify.channels.script.command': '["/bin/tell", "a,b"]' },
      ctx,
    );
    assert.equal(ctx.settings().notify.channels.at(-1), {
      name: 'script',
      type: 'command',
      command: ['/bin/tell', 'a,b'],
    });
    await changeSettings({ 'notify.channels.script': null, 'notify.channels.desk': null }, ctx);
    assert.equal(
      ctx.settings().notify.channels.map(({ name }) => name),
      ['phone'],
    );
    assert.match(readFileSync(file, 'utf8'), '# in the pocket');
  }));

test('a file that is not there is made, and holds only what was said', () =>
  withFile(undefined, async (file, ctx) => {
    assert.not.ok(existsSync(file));
    const [changed] = await changeSettings({ 'drives.allow_fixed': 'Dock*, /dev/sdb*' }, ctx);
    assert.equal(changed?.value, ['Dock*', '/dev/sdb*']);
    assert.is(readFileSync(file, 'utf8'), 'drives:\n  allow_fixed:\n    - "Dock*"\n    - "/dev/sdb*"\n');
    await changeSettings({ 'drives.allow_fixed': 'true' }, ctx);
    assert.is(ctx.settings().allowFixed, true);
  }));

test('what cannot stand is refused in a sentence with the value, and the file is as it was', () =>
  withFile(COMMENTED, async (file, ctx) => {
    const cases: [changes: Record<string, string | null>, message: RegExp][] = [
      [{ 'log.levl': 'debug' }, /'log.levl' is not a setting/],
      [{ 'log.level': 'loud' }, /must be one of debug, info, warn, error; 'loud' is not/],
      [{ 'log.keep': '0' }, /must be a whole number from 1 to 100; '0' is not/],
      [{ 'log.keep': 'ten' }, /must be a whole number from 1 to 100; 'ten' is not/],
      [{ 'log.max_size': '5GB' }, /must be a size from 10kB to 100MB/],
      [{ 'dashboard.fps': '31' }, /from 1 to 30; '31' is not/],
      [{ 'dashboard.mouse': 'perhaps' }, /true or false/],
      [{ 'paths.storage_groups_file': '' }, /must be a text; '' is not/],
      [{ 'notify.channels': 'desk' }, /is a list with rows/],
      [{ 'notify.channels.nobody': null }, /not a setting/],
      [{ 'notify.channels.desk.events': 'failed,exploded' }, /must be a list of started/],
      [{ 'notify.channels.desk.retries': '99' }, /from 0 to 10; '99' is not/],
      [{ 'notify.channels.phone.type': 'desktop' }, /does not go with "url"/],
      [{ 'notify.channels.other.type': 'webhook' }, /needs one of url, url_file and url_env/],
      [{ 'drives.virtual.X.path': 'relative' }, /must be an absolute path; 'relative' is not/],
      [{ 'log.level': 'debug', 'log.keep': '-1' }, /'log.keep'/],
    ];
    for (const [changes, message] of cases) {
      const error = await refusal(changeSettings(changes, ctx));
      assert.match(error.message, message);
      assert.is(error.exitCode, 2, error.message);
      assert.is(readFileSync(file, 'utf8'), COMMENTED, error.message);
      const [found] = Object.entries(checkSettings(changes, ctx));
      assert.ok(error.message.includes(found?.[1] ?? '?'), `${error.message} ${found?.[1]}`);
    }
  }));

test('an address is shown nowhere, is no argument, and comes on stdin', async () => {
  const box = sandbox();
  mkdirSync(box.config, { recursive: true });
  writeFileSync(join(box.config, 'app.yaml'), COMMENTED);
  try {
    const said: string[] = [];
    const keep = async (words: string[], input?: string): Promise<number> => {
      const { code, stdout, stderr } = await box.run(['settings', ...words], input === undefined ? {} : { input });
      said.push(stdout, stderr);
      return code;
    };
    assert.is(await keep(['list', '--json']), 0);
    assert.is(await keep(['get', 'notify.channels.phone']), 0);
    assert.is(
      await keep(['set', 'notify.channels.phone.url=-', 'log.level=error'], 'https://ntfy.example/newer-t0pic\n'),
      0,
    );
    assert.is(await keep(['set', 'notify.channels.phone.url=-'], 'not-an-address-t0pic'), 2);
    assert.is(await keep(['set', 'notify.channels.phone.url=https://ntfy.example/as-word-t0pic']), 2);
    assert.not.match(said.join('\n'), 't0pic');
    assert.match(said.join('\n'), HIDDEN);
    assert.match(readFileSync(join(box.config, 'app.yaml'), 'utf8'), 'https://ntfy.example/newer-t0pic\n');
  } finally {
    box.cleanup();
  }
});

test('get prints a value alone; list says where each comes from; nothing given is refused', () =>
  withFile(COMMENTED, async (_file, ctx) => {
    const text = async (verb: string, args: Values): Promise<string> =>
      (await run(verb, args, {}, ctx))?.text((_style, one) => one) ?? '';
    assert.is(await text('get', { key: 'log.level' }), 'warn');
    assert.is(await text('get', { key: 'notify.channels.desk.events' }), 'failed');
    assert.match(await text('get', { key: 'notify.channels.phone' }), /"url": "\(not shown\)"/);
    assert.match(await text('list', {}), /log\.level +warn +app\.yaml +info/);
    assert.match(await text('list', {}), /notify\.channels +desk, phone +app\.yaml/);
    assert.match(await text('unset', { key: ['log.level'] }), 'log.level: info (the default)');
    assert.match((await refusal(run('set', {}, {}, ctx))).message, 'No setting is given');
    assert.match((await refusal(run('set', { setting: ['log.level'] }, {}, ctx))).message, 'not KEY=VALUE');
    assert.match((await refusal(run('get', { key: 'nothing' }, {}, ctx))).message, 'is not a setting');
  }));

test('a file that cannot be read is named with line and column, and not overwritten', () =>
  withFile('log: [broken', async (file, ctx) => {
    const error = await refusal(changeSettings({ 'log.level': 'debug' }, ctx));
    assert.match(error.message, /app\.yaml:1:\d+/);
    assert.is(readFileSync(file, 'utf8'), 'log: [broken');
  }));

test('two rows with one name are not mixed up', () =>
  withFile('drives:\n  virtual:\n    - { path: /a, label: X }\n    - { path: /b, label: X }\n', async (file, ctx) => {
    const before = readFileSync(file, 'utf8');
    const error = await refusal(changeSettings({ 'drives.virtual.X': null }, ctx));
    assert.match(error.message, "2 rows are called 'X'");
    assert.is(readFileSync(file, 'utf8'), before);
  }));

test.run();
