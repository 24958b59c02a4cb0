/** How many files at the same time, by drive, and which lanes take what. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { groupBySize } from '../shared/batches.ts';
import { formatBytes } from '../shared/format.ts';
import { inLanes, type LaneDrive, type Lanes, lanesFor, leastLanes } from '../shared/lanes.ts';

const test = suite('lanes');

const drive = (facts: Partial<LaneDrive>): LaneDrive => ({
  rotational: null,
  transport: null,
  virtual: false,
  network: false,
  ...facts,
});
const HDD = drive({ rotational: true, transport: 'sata' });
const SSD = drive({ rotational: false, transport: 'nvme' });
const USB = drive({ rotational: false, transport: 'usb' });
const USB_UNKNOWN = drive({ transport: 'usb' });
const USB_HDD = drive({ rotational: true, transport: 'usb' });
const NAS = drive({ network: true });
const NAS_FOLDER = drive({ network: true, virtual: true });
const FOLDER = drive({ virtual: true });
const UNKNOWN = drive({});
const auto = { enable_parallel_copy: true, max_parallel_files: 'auto' } as const;

const TABLE: [string, LaneDrive[], number, Lanes][] = [
  ['two disks', [HDD, HDD], 8, { all: 2, small: 2 }],
  ['SSD to disk: the slower decides', [SSD, HDD], 16, { all: 2, small: 2 }],
  ['disk to SSD', [HDD, SSD], 16, { all: 2, small: 2 }],
  ['two SSDs, many cores', [SSD, SSD], 16, { all: 8, small: 8 }],
  ['two SSDs, two cores: small files on two', [SSD, SSD], 2, { all: 8, small: 2 }],
  ['two SSDs, one core', [SSD, SSD], 1, { all: 8, small: 2 }],
  ['SSD to USB stick', [SSD, USB], 6, { all: 4, small: 4 }],
  ['USB that does not say', [USB_UNKNOWN, USB_UNKNOWN], 3, { all: 4, small: 3 }],
  ['rotating disk on USB', [SSD, USB_HDD], 8, { all: 2, small: 2 }],
  ['SSD to NAS: waiting is no load', [SSD, NAS], 2, { all: 4, small: 4 }],
  ['folders', [FOLDER, FOLDER], 2, { all: 4, small: 2 }],
  ['folder on a NAS', [FOLDER, NAS_FOLDER], 2, { all: 4, small: 4 }],
  ['a disk and a NAS', [HDD, NAS], 2, { all: 2, small: 2 }],
  ['nothing known', [UNKNOWN, UNKNOWN], 8, { all: 4, small: 4 }],
  ['one drive alone is read', [SSD], 4, { all: 8, small: 4 }],
];

for (const [name, drives, cores, expected] of TABLE)
  test(`auto: ${name}`, () => {
    assert.equal(lanesFor(auto, drives, cores), expected);
  });

test('a number that was asked for holds on any drive, and off is one', () => {
  assert.equal(lanesFor({ ...auto, max_parallel_files: 16 }, [HDD, HDD], 2), { all: 16, small: 16 });
  assert.equal(lanesFor({ ...auto, enable_parallel_copy: false }, [SSD, SSD], 8), { all: 1, small: 1 });
  assert.equal(
    [2, 1, 7],
    [
      leastLanes(auto),
      leastLanes({ ...auto, enable_parallel_copy: false }),
      leastLanes({ ...auto, max_parallel_files: 7 }),
    ],
  );
  for (const [, drives, cores] of TABLE) assert.ok(leastLanes(auto) <= lanesFor(auto, drives, cores).small);
});

const LARGE = 20_000_000;

/** Runs groups of these sizes, each as long as it is large; returns how many of which kind were worked on at once. */
async function run(
  sizes: readonly number[],
  lanes: Lanes,
  fails: (size: number) => boolean = () => false,
): Promise<{ threads: number; large: number; small: number; done: number[]; failed: number }> {
  const groups = groupBySize(sizes.map((size, index) => ({ size, index }))).map((items) => ({ items }));
  const seen = { threads: 0, large: 0, small: 0, done: [] as number[], failed: 0 };
  const now = { large: 0, small: 0 };
  const outcomes = await inLanes(
    groups,
    lanes,
    (threads) => {
      seen.threads = threads;
    },
    async ({ items }) => {
      const kind = items.length === 1 && (items[0]?.size ?? 0) >= LARGE ? 'large' : 'small';
      now[kind] += 1;
      seen[kind] = Math.max(seen[kind], now[kind]);
      assert.ok(now.large + now.small <= lanes.all);
      await new Promise((done) => setTimeout(done, kind === 'large' ? 8 : 2));
      now[kind] -= 1;
      if (items.some(({ size }) => fails(size))) throw new Error(formatBytes(items[0]?.size ?? 0));
      seen.done.push(...items.map(({ index }) => index));
    },
    () => false,
  );
  seen.failed = outcomes.filter(({ status }) => status === 'rejected').length;
  return seen;
}

const mixed = Array.from({ length: 180 }, (_, at) => (at % 3 === 0 ? LARGE : 7_000_000));

test('every item is worked on once; small ones in their lanes, large ones in all', async () => {
  const seen = await run(mixed, { all: 8, small: 2 });
  assert.equal(
    seen.done.sort((a, b) => a - b),
    mixed.map((_, at) => at),
  );
  assert.ok(seen.large > 2 && seen.large <= 8, `${seen.large} large ones at once`);
  assert.ok(seen.small >= 1 && seen.small <= 2, `${seen.small} small ones at once`);
  assert.is(seen.threads, 8);
});

test('small files alone, and a few large ones, start no thread that would find nothing', async () => {
  assert.is((await run([1, 2, 3], { all: 8, small: 2 })).threads, 2);
  assert.is((await run([], { all: 8, small: 2 })).threads, 2);
  const few = await run(Array(9).fill(LARGE), { all: 8, small: 2 });
  assert.equal([few.threads, few.done.length], [2, 9], 'a few large files are not worth a thread either');
  const more = await run(Array(30).fill(LARGE), { all: 8, small: 2 });
  assert.equal([more.threads, more.large, more.done.length], [5, 5, 30]);
});

test('a lane that fails ends alone', async () => {
  const seen = await run([...mixed, LARGE + 1], { all: 4, small: 2 }, (size) => size === LARGE + 1);
  assert.equal([seen.failed, seen.done.length], [1, mixed.length]);
});

test('over is over', async () => {
  let worked = 0;
  const groups = groupBySize(mixed.map((size) => ({ size }))).map((items) => ({ items }));
  await inLanes(
    groups,
    { all: 4, small: 2 },
    () => {},
    async () => {
      worked += 1;
    },
    () => worked >= 3,
  );
  assert.ok(worked >= 3 && worked <= 6, `${worked} groups`);
});

test.run();
