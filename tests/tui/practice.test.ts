/** `tandem --demo` leaves nothing behind, however it ends. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openTmux, TANDEM } from '../helpers/tmux.ts';

const test = suite('practice');

const left = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith('tandem-practice-'));

test('a signal ends it, and its drives go with the run that used them', async () => {
  const temporary = mkdtempSync(join(tmpdir(), 'tandem-practice-test-'));
  const tmux = openTmux(80, 24, { TMPDIR: temporary });
  try {
    tmux.keys(`${TANDEM} --demo; echo "code $?"`, 'Enter');
    await tmux.shows('Active: sync Archive');
    assert.is(left(temporary).length, 1);
    process.kill(tmux.child(), 'SIGTERM');
    await tmux.shows('code 143');
    for (const until = Date.now() + 60_000; left(temporary).length > 0 && Date.now() < until; ) await pause(50);
    assert.equal(left(temporary), []);
  } finally {
    tmux.close();
    rmSync(temporary, { recursive: true, force: true, maxRetries: 5 });
  }
});

test.run();
