/** The queue of touched paths, under a clock of its own: nothing is lost, nothing waits for ever, nothing comes twice. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isInside } from '../shared/paths.ts';
import { commonPlace, coveringPlaces, isNoise, TouchQueue } from '../shared/watch-queue.ts';
import './helpers/property.ts';

const test = suite('watch-queue');

for (const [path, noise] of [
  ['notes.txt', false],
  ['a/4913', true],
  ['a/.notes.txt.swp', true],
  ['a/.notes.txt.swx', true],
  ['notes.txt~', true],
  ['a/._clip.mov', true],
  ['.goutputstream-X1Y2', true],
  ['a/.#lock', true],
  ['a/#auto#', true],
  ['a/~$report.docx', true],
  ['a/.nfs000000000001', true],
  ['.tandem/lock', true],
  ['.Trash-1000/files/x', true],
  ['lost+found', true],
  ['sub/lost+found', false],
  ['a/render.tmp', false],
  ['4913/x', false],
  ['swp', false],
] as const)
  test(`isNoise('${path}') is ${noise}`, () => assert.is(isNoise(path), noise));

test('a path comes out once, when it has been quiet for the debounce', () => {
  const queue = new TouchQueue(500);
  queue.touch('a', 0);
  queue.touch('a', 300);
  assert.equal(queue.take(799), []);
  assert.equal(queue.take(800), ['a']);
  assert.equal([queue.take(10_000), queue.length], [[], 0]);
});

test('a burst comes out together, when its last path is quiet', () => {
  const queue = new TouchQueue(500);
  for (let at = 0; at < 10; at += 1) queue.touch(`f${at}`, at * 100);
  assert.is(queue.due(), 1400);
  assert.equal(queue.take(1400).length, 10);
});

test('a file that changes for ever keeps none of the others waiting, and does not come out itself', () => {
  const queue = new TouchQueue(500);
  queue.touch('quiet', 0);
  const taken: [number, string[]][] = [];
  for (let now = 0; now <= 10_000; now += 100) {
    queue.touch('log', now);
    const batch = queue.take(now);
    if (batch.length > 0) taken.push([now, batch]);
  }
  assert.equal(taken, [[2000, ['quiet']]]);
  queue.touch('later', 10_000);
  for (let now = 10_000; now <= 10_600; now += 100) queue.touch('log', now);
  assert.equal(queue.take(10_500), ['later'], 'no more than its own debounce');
});

test('what is to be looked at later is not looked at earlier', () => {
  const queue = new TouchQueue(500);
  queue.touch('held', 0, 5000);
  queue.touch('held', 100);
  assert.is(queue.due(), 5000);
  queue.touch('other', 0);
  assert.equal(queue.take(2000), ['other']);
  assert.equal(queue.take(5000), ['held']);
});

test('noise never comes out', () => {
  const queue = new TouchQueue(500);
  queue.touch('a/.notes.swp', 0);
  assert.is(queue.due(), undefined);
});

const name = fc.constantFrom('a', 'b', 'c', 'd');
const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));

test('property: every touched path comes out, after its debounce and before its longest wait once it is quiet', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ path, after: fc.nat(900) }), { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 100, max: 2000 }),
      (events, debounce) => {
        const queue = new TouchQueue(debounce);
        const waiting = new Map<string, number>();
        let now = 0;
        const take = (): void => {
          for (const one of queue.take(now)) {
            const touched = waiting.get(one);
            assert.ok(touched !== undefined, 'nothing comes twice');
            assert.ok(now - touched >= debounce, 'nothing comes early');
            waiting.delete(one);
          }
        };
        for (const event of events) {
          for (const until = now + event.after; now < until; now += 50) take();
          queue.touch(event.path, now);
          waiting.set(event.path, now);
        }
        for (const until = now + debounce + 100; now < until; now += 50) take();
        assert.equal([waiting.size, queue.length], [0, 0], 'nothing is lost');
      },
    ),
    { numRuns: 200 },
  );
});

test('property: the places cover every path, are few, and none lies in another', () => {
  fc.assert(
    fc.property(fc.array(path, { minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 8 }), (paths, most) => {
      const places = coveringPlaces(paths, most);
      assert.ok(places.length <= most);
      for (const one of paths) assert.is(places.filter((place) => isInside(one, place)).length, 1);
      const common = commonPlace(paths);
      assert.ok(paths.every((one) => isInside(one, common)));
      if (coveringPlaces(paths, 1000).length > 1)
        assert.ok(
          paths.some((one) => !isInside(one, `${common}${common === '' ? '' : '/'}a`)),
          'and none is deeper',
        );
    }),
    { numRuns: 300 },
  );
});

test('few paths are their own places', () => {
  assert.equal(coveringPlaces(['a/x', 'b/y', 'a/x/deep'], 16), ['a/x', 'b/y']);
  assert.equal(coveringPlaces(['a/x', 'a/y', 'a/z', 'b'], 2), ['a', 'b']);
  assert.is(commonPlace(['a/b/x', 'a/b/y']), 'a/b');
  assert.is(commonPlace(['a/b', 'ab']), '');
});

test.run();
