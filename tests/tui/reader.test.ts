/** The reader on a real pair of folders: what it answers, when it speaks, and what it never does. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { completeOperation, NOTHING_DONE, startOperation } from '../../features/history.ts';
import { reportProgress } from '../../features/steering.ts';
import { outcomeOf } from '../../tui/actions.ts';
import { feedOf } from '../../tui/feed.ts';
import { type Channel, type FromReader, runReader, type ToReader } from '../../tui/reader.ts';
import type { Overview, Running } from '../../tui/reads.ts';
import { keyOf, want } from '../../tui/wants.ts';
import { running } from '../helpers/board.ts';
import { type TestPair, withPair } from '../helpers/pair.ts';

const test = suite('reader');

interface Line {
  said: FromReader[];
  say(message: ToReader): void;
  /** The newest answer that fits; waits for it. */
  answer<T>(key: string, fits: (value: T) => boolean): Promise<T>;
  /** While false, nothing is taken in. */
  open: boolean;
}

async function withReader(pair: TestPair, work: (line: Line) => Promise<void>): Promise<void> {
  const gone = new AbortController();
  let listener: (message: ToReader) => void = () => {};
  const line: Line = {
    said: [],
    say: (message) => listener(message),
    open: true,
    answer: async (key, fits) => {
      const end = Date.now() + 30_000;
      for (;;) {
        const found = line.said.findLast((one) => one.kind === 'data' && one.key === key && fits(one.value as never));
        if (found?.kind === 'data') return found.value as never;
        if (Date.now() > end) throw new Error(`no such answer to ${key}: ${JSON.stringify(line.said.slice(-3))}`);
        await pause(20);
      }
    },
  };
  const channel: Channel = {
    send: (message) => {
      if (line.open) line.said.push(structuredClone(message));
      return line.open;
    },
    receive: (take) => {
      listener = take;
    },
  };
  const reader = runReader(pair.context({ signal: gone.signal }), channel);
  try {
    await work(line);
  } finally {
    gone.abort();
    line.say({ kind: 'refresh' });
    await reader;
  }
}

const RUNNING = keyOf(want('running'));
const STATUS = keyOf(want('status'));

const begin = (pair: TestPair): Promise<number> =>
  startOperation(
    { uuid: 'abc-1', group_id: 'g', operation_type: 'sync', target_kind: 'group', target_name: 'Archive', subpath: '' },
    pair.ctx,
  );

test('it tells of a run that another connection begins, of its progress, its rates and its end', () =>
  withPair({ master: { a: '1' } }, (pair) =>
    withReader(pair, async (line) => {
      line.say({ kind: 'want', wants: [want('running'), want('status')] });
      await line.answer<Running[]>(RUNNING, (rows) => rows.length === 0);
      await line.answer<Overview>(STATUS, ({ groups }) => groups[0]?.name === 'Archive');
      const id = await begin(pair);
      await line.answer<Running[]>(RUNNING, ([one]) => one?.target_name === 'Archive');
      const { progress } = running('x');
      if (progress) await reportProgress(id, progress, pair.ctx);
      const [seen] = await line.answer<Running[]>(RUNNING, ([one]) => (one?.rates.length ?? 0) > 0);
      assert.is(seen?.progress?.files_done, progress?.files_done);
      await completeOperation(id, NOTHING_DONE, 'completed', pair.ctx);
      const said = line.said.length;
      await line.answer<Running[]>(RUNNING, (rows) => rows.length === 0 && line.said.length > said);
    }),
  ));

test('a wish reaches the row of the operation, and a refusal comes back as a sentence', () =>
  withPair({}, (pair) =>
    withReader(pair, async (line) => {
      line.say({ kind: 'want', wants: [want('running')] });
      const id = await begin(pair);
      line.say({ kind: 'ask', id: 1, name: 'control', args: ['abc-1', 'pause'] });
      const [paused] = await line.answer<Running[]>(RUNNING, ([one]) => one?.control === 'pause');
      assert.is(paused?.id, id);
      await completeOperation(id, NOTHING_DONE, 'cancelled', pair.ctx);
      line.say({ kind: 'ask', id: 2, name: 'control', args: ['abc-1', 'cancel'] });
      line.say({ kind: 'ask', id: 3, name: 'nonsense', args: [] });
      const answers = async () => {
        while (line.said.filter(({ kind }) => kind === 'answer').length < 3) await pause(20);
        return line.said
          .filter((one) => one.kind === 'answer')
          .map((one) => (one.kind === 'answer' ? [one.id, one.error] : []));
      };
      assert.equal((await answers()).sort(), [
        [1, null],
        [2, `Operation ${id} is not running: its status is cancelled.`],
        [3, "There is no wish 'nonsense'."],
      ]);
    }),
  ));

test('what did not change is not said again, and what was not taken in is', () =>
  withPair({}, (pair) =>
    withReader(pair, async (line) => {
      line.open = false;
      line.say({ kind: 'want', wants: [want('running')] });
      await pause(300);
      assert.equal(line.said, []);
      line.open = true;
      line.say({ kind: 'refresh' });
      await line.answer<Running[]>(RUNNING, (rows) => rows.length === 0);
      for (let times = 0; times < 3; times += 1) {
        line.say({ kind: 'refresh' });
        await pause(250);
      }
      assert.is(line.said.filter(({ kind }) => kind === 'data').length, 1);
    }),
  ));

test('settings that cannot be read are an error of the question, and mending them is noticed', () =>
  withPair({}, (pair) =>
    withReader(pair, async (line) => {
      line.say({ kind: 'want', wants: [want('status')] });
      await line.answer<Overview>(STATUS, ({ groups }) => groups.length === 1);
      const file = join(pair.box.config, 'storage_groups.yaml');
      writeFileSync(file, 'groups: [nonsense');
      const end = Date.now() + 30_000;
      while (!line.said.some((one) => one.kind === 'error' && one.message.includes('storage_groups.yaml'))) {
        if (Date.now() > end) throw new Error(JSON.stringify(line.said));
        line.say({ kind: 'refresh' });
        await pause(300);
      }
    }),
  ));

test('the palette has every command that ends by itself', () =>
  withPair({}, (pair) =>
    withReader(pair, async (line) => {
      line.say({ kind: 'want', wants: [want('commands')] });
      const entries = await line.answer<{ words: string; takes: string }[]>(keyOf(want('commands')), () => true);
      const words = entries.map((entry) => entry.words);
      for (const one of ['sync run', 'groups create', 'history list', 'status', 'conflicts resolve'])
        assert.ok(words.includes(one), one);
      for (const one of ['watch run', 'schedule run', 'daemon run', 'demo']) assert.not.ok(words.includes(one), one);
    }),
  ));

test('the feed says how runs ended, newest first, and keeps names as they are', () => {
  const { rates: _, ...operation } = running('photos');
  const ended = {
    ...operation,
    status: 'completed' as const,
    end_time: '2026-11-20T14:40:00.000Z',
    start_time: '2026-11-20T14:30:00.000Z',
  };
  const texts = (more: Partial<typeof ended>): string[] =>
    feedOf([{ ...ended, ...more } as never], []).map(({ sign, text }) => `${sign} ${text}`);
  assert.equal(texts({ files_copied: 1, bytes_copied: 2000 }), ['✓ sync: 1 file copied, 2.00 kB', '◐ sync started']);
  assert.equal(texts({ conflicts_detected: 2 })[0], '! sync: nothing to do; 2 conflicts waiting');
  assert.equal(
    texts({ status: 'failed' as never, reason: 'interrupted', files_failed: 3 })[0],
    '✗ sync failed (interrupted), 3 files failed',
  );
  assert.equal(
    texts({ status: 'cancelled' as never, files_copied: 2, bytes_copied: 5 })[0],
    '! sync cancelled after 2 files copied, 5 B',
  );
  assert.equal(feedOf([{ ...ended, end_time: null } as never], []).length, 1);
});

test('what became of a command is one line', () => {
  const cases: [code: number, complaint: string, expected: string][] = [
    [0, '', 'good x: done'],
    [3, 'warning: one', 'warn x: done, conflicts are waiting'],
    [4, '', 'warn x: partly done, some files failed'],
    [5, 'warning: a\nerror: The drive is away.\nhint:  Plug it in.\n', 'bad x: The drive is away.'],
    [1, 'node: bad option\n', 'bad x: node: bad option'],
    [9, '', 'bad x: it ended with code 9'],
  ];
  for (const [code, complaint, expected] of cases) {
    const { style, text } = outcomeOf('x', code, '', complaint);
    assert.is(`${style} ${text}`, expected);
  }
});

test.run();
