/** Names through a row of renames, against a tree that is renamed for real; and a log of changes along the way. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ChangeLog } from '../shared/manifest.ts';
import { isInside } from '../shared/paths.ts';
import { isRespelling, type Rename, Renames } from '../shared/renames.ts';
import './helpers/property.ts';

const test = suite('renames');

/** Things by number, each with its name at every moment. */
function history(steps: readonly { from: number; to: string }[]): { moves: Rename[]; names: Map<string, string>[] } {
  let names = new Map(['a', 'b', 'D', 'D/x', 'D/E', 'D/E/y', 'F', 'F/z'].map((path) => [path, path]));
  const folders = new Set(['D', 'D/E', 'F']);
  const all = [names];
  const moves: Rename[] = [];
  for (const { from, to } of steps) {
    const [id, path] = [...names][from % names.size] as [string, string];
    const parent = to.includes('/') ? to.slice(0, to.lastIndexOf('/')) : '';
    const holder = [...names].find(([, name]) => name === parent)?.[0];
    const free = ![...names.values()].includes(to);
    if (!free || isInside(to, path) || (parent !== '' && (holder === undefined || !folders.has(holder)))) continue;
    moves.push({ path: to, from: path, after: folders.has(id) ? 'd 0 ' : 'f 0 ' });
    names = new Map([...names].map(([one, name]) => [one, isInside(name, path) ? to + name.slice(path.length) : name]));
    all.push(names);
  }
  return { moves, names: all };
}

const name = fc.constantFrom('a', 'b', 'c', 'D', 'F', 'G');
const steps = fc.array(
  fc.record({ from: fc.nat(20), to: fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/')) }),
  { maxLength: 25 },
);

test('forward and back find the name of each moment, whatever was renamed in between', () => {
  fc.assert(
    fc.property(steps, (chosen) => {
      const { moves, names } = history(chosen);
      const renames = new Renames(moves);
      for (let start = 0; start <= moves.length; start += 1)
        for (let end = start; end <= moves.length; end += 1)
          for (const [id, early] of names[start] as Map<string, string>) {
            const late = names[end]?.get(id) as string;
            assert.is(renames.forward(early, start, end), late);
            assert.is(renames.back(late, start, end), early);
          }
    }),
    { numRuns: 200 },
  );
});

test('a log says each change in the names of its moment, and adds up what is done to one thing', () => {
  const log = new ChangeLog();
  assert.ok(log.isEmpty);
  log.note(new Map([['D/a', 'f 2 1']]), [{ path: 'D/a', action: 'update' }], new Map());
  log.note(new Map(), [{ path: 'E', action: 'delete' }], new Map());
  log.moved('E', 'D', 'd 0 0');
  log.note(new Map([['E/a', 'f 3 1']]), [{ path: 'E/a', action: 'meta' }], new Map());
  log.madeFolder('D');
  log.moved('b', 'E/a', 'f 3 2');
  assert.not(log.isEmpty);
  assert.equal(
    log.changes.map(({ path, change, after, at }) => [path, change, after, at]),
    [
      ['D/a', 'replaced', 'f 3 2', 0],
      ['D', 'created', '', 1],
      ['E', 'deleted', null, 0],
    ].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
  );
});

test('spellings that some drive takes for one', () => {
  assert.ok(isRespelling('D/é', 'D/É'));
  assert.ok(isRespelling('D/e\u0301', 'D/é'));
  assert.not(isRespelling('d/a', 'D/A'));
  assert.not(isRespelling('a', 'b'));
});

test.run();
