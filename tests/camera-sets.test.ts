/** Which files are one shot or take, by name alone. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { groupBySize } from '../shared/batches.ts';
import { areOneSet, setOf, withTheirSets } from '../shared/camera-sets.ts';

const test = suite('camera sets');

const CASES: [name: string, folder: string[], sets: string[][]][] = [
  [
    'RAW, JPEG, sidecars of both spellings, voice memo',
    ['IMG_1.CR3', 'IMG_1.JPG', 'IMG_1.xmp', 'IMG_1.CR3.xmp', 'IMG_1.WAV', 'IMG_10.CR3', 'IMG_10.xmp'],
    [
      ['IMG_1.CR3', 'IMG_1.JPG', 'IMG_1.xmp', 'IMG_1.CR3.xmp', 'IMG_1.WAV'],
      ['IMG_10.CR3', 'IMG_10.xmp'],
    ],
  ],
  ['another case is the same stem', ['DSC_2.NEF', 'dsc_2.xmp'], [['DSC_2.NEF', 'dsc_2.xmp']]],
  [
    'Sony: metadata, proxy and thumbnail beside the clip',
    ['C0001.MP4', 'C0001M01.XML', 'C0001S03.MP4', 'C0001T01.JPG', 'C0002.MP4', 'C0002M01.XML'],
    [
      ['C0001.MP4', 'C0001M01.XML', 'C0001S03.MP4', 'C0001T01.JPG'],
      ['C0002.MP4', 'C0002M01.XML'],
    ],
  ],
  [
    'an ending like a proxy without its clip stands alone',
    ['scene_M01.mov', 'other.mov'],
    [['scene_M01.mov'], ['other.mov']],
  ],
  ['proxies by name', ['A001.mov', 'A001_proxy.mov'], [['A001.mov', 'A001_proxy.mov']]],
  [
    'GoPro',
    ['GX010042.MP4', 'GL010042.LRV', 'GX010042.THM', 'GX020042.MP4'],
    [['GX010042.MP4', 'GL010042.LRV', 'GX010042.THM'], ['GX020042.MP4']],
  ],
  [
    'RED',
    ['A001_C001_0101AB_001.R3D', 'A001_C001_0101AB_001.rmd'],
    [['A001_C001_0101AB_001.R3D', 'A001_C001_0101AB_001.rmd']],
  ],
  [
    'documents that share a stem are no set',
    ['notes.txt', 'notes.pdf', 'notes.jpg'],
    [['notes.txt'], ['notes.pdf'], ['notes.jpg']],
  ],
  [
    'names without an ending, hidden ones, dots inside',
    ['README', '.xmp', 'a.b.jpg', 'a.b.xmp', 'a.jpg'],
    [['README'], ['.xmp'], ['a.b.jpg', 'a.b.xmp'], ['a.jpg']],
  ],
  [
    'composed and decomposed letters',
    ['Ü.cr3'.normalize('NFC'), 'Ü.xmp'.normalize('NFD')],
    [['Ü.cr3'.normalize('NFC'), 'Ü.xmp'.normalize('NFD')]],
  ],
];

for (const [name, folder, sets] of CASES) {
  test(name, () => {
    for (const set of sets)
      for (const member of set)
        assert.equal(
          setOf(`Day 1/${member}`, folder),
          set.map((one) => `Day 1/${one}`),
          member,
        );
  });
}

test('the root has sets too, and a set never reaches into another folder', () => {
  assert.equal(setOf('a.cr3', ['a.cr3', 'a.xmp']), ['a.cr3', 'a.xmp']);
  assert.ok(areOneSet('d/a.cr3', 'd/a.xmp'));
  assert.not.ok(areOneSet('d/a.cr3', 'e/a.xmp'));
  assert.not.ok(areOneSet('d/a.cr3', 'd/b.cr3'));
  assert.not.ok(areOneSet('d/a.txt', 'd/a.pdf'));
});

test('a choice is widened to what belongs to the same shot, and to nothing else', () => {
  const all = ['d/a.cr3', 'd/a.xmp', 'd/b.cr3', 'e/a.xmp', 'a.xmp', 'd/notes.txt'];
  assert.equal([...withTheirSets(['d/a.xmp'], all)], ['d/a.xmp', 'd/a.cr3']);
  assert.equal([...withTheirSets(['d/notes.txt', 'e/a.xmp'], all)], ['d/notes.txt', 'e/a.xmp']);
});

test('a group that is full takes the rest of its last shot along, and nothing more', () => {
  const items = Array.from({ length: 300 }, (_, at) =>
    ['CR3', 'JPG', 'xmp'].map((end) => ({ path: `d/I${at}.${end}`, size: 1000 })),
  ).flat();
  const groups = groupBySize(items);
  assert.equal(groups.flat(), items);
  for (const [index, group] of groups.entries()) {
    const next = groups[index + 1]?.[0];
    const last = group.at(-1);
    if (next && last) assert.not.ok(areOneSet(last.path, next.path), `${last.path} and ${next.path} were parted`);
    assert.ok(group.length <= 258);
  }
});

test.run();
