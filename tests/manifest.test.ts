/** Attacks on ASC MHL histories: round trips, other programs' documents, tampering, hostile names and paths. */
import { appendFileSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type ManifestFlags, type ManifestResult, verifyManifest } from '../features/verify.ts';
import { digestBytes, digestOf, hashersFor } from '../shared/digests.ts';
import { extendChain, hashListText, MHL_FORMATS, type MhlFile, parseChain, parseHashList } from '../shared/mhl.ts';
import { parseXml, xmlText } from '../shared/xml.ts';
import { edit, refusal, type TestPair, withPair } from './helpers/pair.ts';

const test = suite('manifest');

const manifest = (pair: TestPair, flags: ManifestFlags = {}): Promise<ManifestResult[]> =>
  verifyManifest('Archive', flags, pair.ctx);
const brief = (results: readonly ManifestResult[]): string[] =>
  results.flatMap(({ side, findings }) => findings.map(({ path, kind }) => `${side} ${path} ${kind}`));
const namesOf = (root: string): string[] => readdirSync(join(root, 'ascmhl')).sort();
const textOf = (root: string, index: number): string =>
  readFileSync(join(root, 'ascmhl', namesOf(root)[index] ?? ''), 'utf8');

// --- formats ---

test('checksums are those of the published vectors', async () => {
  const hashers = await hashersFor(MHL_FORMATS);
  const of = (text: string): string[] => MHL_FORMATS.map((format) => digestOf(Buffer.from(text), format, hashers));
  assert.equal(of(''), [
    'c459dsjfscH38cYeXXYogktxf4Cd9ibshE3BHUo6a58hBXmRQdZrAkZzsWcbWtDg5oQstpDuni4Hirj75GEmTc1sFT',
    'd41d8cd98f00b204e9800998ecf8427e',
    'da39a3ee5e6b4b0d3255bfef95601890afd80709',
    '99aa06d3014798d86001c324468d497f',
    '2d06800538d394c2',
    'ef46db3751d8e999',
  ]);
  for (const [index, format] of MHL_FORMATS.entries()) {
    const value = of('abcd\n')[index] ?? '';
    assert.ok(digestBytes(value, format), format);
    for (const bad of ['', 'zz', value.slice(1), `${value}0`, value.replace(/./, '!')])
      assert.is(digestBytes(bad, format), undefined);
  }
});

/** The tree and the hashes are those of the examples that the makers of the format publish. */
test('folder hashes agree with those of the reference implementation', async () => {
  const hashers = await hashersFor(MHL_FORMATS);
  const file = (path: string, value: string): MhlFile => ({
    path,
    size: 5,
    mtime: 0,
    hashes: [{ format: 'xxh64', value, action: 'original' }],
  });
  const files = [
    file('Clips/A002C006_141024_R2EC.mov', '0ea03b369a463d9d'),
    file('Clips/A002C007_141024_R2EC.mov', '7680e5f98f4a80fd'),
    file('Sidecar.txt', '3ab5a4166b9bde44'),
  ];
  const header = { created: 0, hostname: 'h', tool: 't', version: '1', ignore: ['x'], process: 'in-place' } as const;
  const text = hashListText(header, { files, complete: true, references: [], removed: [] }, hashers);
  for (const hash of ['8d02114c32e28cbe', 'f557f8ca8e5a88ef', '4c226b42e27d7af3', '906faa843d591a9f'])
    assert.match(text, hash);
  assert.equal(
    parseHashList(text).files.map(({ path }) => path),
    files.map(({ path }) => path),
  );
});

test('what is no such document is refused with a reason', () => {
  const list = (inner: string): string =>
    `<hashlist version="2.0" xmlns="urn:ASC:MHL:v2.0"><hashes>${inner}</hashes></hashlist>`;
  const hash = (path: string, value = '0ea03b369a463d9d'): string =>
    `<hash><path>${path}</path><xxh64>${value}</xxh64></hash>`;
  assert.is(parseHashList(list(hash('a &amp; b&#x21;'))).files[0]?.path, 'a & b!');
  const bad = [
    '',
    'text',
    '<hashlist/>',
    '<hashlist version="1.1"><hash/></hashlist>',
    '<!DOCTYPE x [<!ENTITY a "b">]><hashlist version="2.0" xmlns="urn:ASC:MHL:v2.0"/>',
    '<?xml-stylesheet href="x"?><hashlist version="2.0" xmlns="urn:ASC:MHL:v2.0"/>',
    '<hashlist version="3.0" xmlns="urn:ASC:MHL:v2.0"/>',
    list(hash('../../etc/passwd')),
    list(hash('/etc/passwd')),
    list(hash('a//b')),
    list(hash('')),
    list(hash('a&#0;b')),
    list(hash('a&unknown;b')),
    list(hash('a & b')),
    list(hash('a', 'nonsense')),
    list(hash('a') + hash('a')),
    list('<hash><path>a</hash>'),
    list('<other/>'),
    `${list(hash('a'))}<more/>`,
    list(hash('a')).slice(0, -4),
    '<a>'.repeat(100),
  ];
  for (const text of bad) assert.throws(() => parseHashList(text), undefined, text);
  const c4 = `c4${'1'.repeat(88)}`;
  const chain = (name: string, sum = c4, number = '1'): string =>
    `<ascmhldirectory xmlns="urn:ASC:MHL:DIRECTORY:v2.0"><hashlist sequencenr="${number}"><path>${name}</path><c4>${sum}</c4></hashlist></ascmhldirectory>`;
  assert.is(parseChain(chain('0001_a.mhl')).length, 1);
  for (const text of [
    chain('../a.mhl'),
    chain('a/b.mhl'),
    chain('a.txt'),
    chain('a.mhl', 'c4x'),
    chain('a.mhl', c4, 'x'),
    chain('a.mhl', c4, '0'),
  ])
    assert.throws(() => parseChain(text), undefined, text);
  assert.throws(() => parseChain(extendChain(chain('a.mhl'), { sequence: 1, name: 'b.mhl', c4 })));
});

test('text survives a document, and what XML cannot hold is told', () => {
  for (const text of ['<a href="x">&amp;</a>', "it's ]]> \t\n\r end", 'ünï 日本 😀', ' blanks ']) {
    assert.is(parseXml(`<t a="${xmlText(text)}">${xmlText(text)}</t>`).text, text);
    assert.is(parseXml(`<t a="${xmlText(text)}"/>`).attributes.get('a'), text);
  }
  for (const text of ['\u0001', '\u001b[31m', '\ud800', '\uffff']) assert.is(xmlText(text), undefined);
});

// --- histories ---

test('a history grows by generations, each checked, on each drive for itself, and is never synced', () =>
  withPair(
    { master: { 'a.txt': 'one', 'b/c & <d>.txt': 'two', 'b/empty': '', '.DS_Store': 'x', 'b/l': { symlink: 'c' } } },
    async (pair) => {
      await pair.sync();
      const first = await manifest(pair, { hashes: ['xxh128', 'c4'] });
      assert.equal(brief(first), []);
      assert.equal(
        first.map(({ side, files_verified, generations }) => [side, files_verified, generations]),
        [
          ['master', 3, 1],
          ['backup', 3, 1],
        ],
      );
      assert.match(namesOf(pair.master)[0] ?? '', /^0001_MASTER_\d{4}-\d\d-\d\d_\d{6}Z\.mhl$/);
      assert.match(textOf(pair.master, 0), 'b/c &amp; &lt;d&gt;.txt');
      assert.match(textOf(pair.master, 0), 'action="original"');
      assert.not.match(textOf(pair.master, 0), '<path size="1"');
      assert.equal((await pair.plan()).actions, [], 'the folder ascmhl at the root is no business of a sync');
      const second = await manifest(pair, { hashes: ['xxh64'] });
      assert.equal(
        second.map(({ generations, status }) => [generations, status]),
        [
          [2, 'completed'],
          [2, 'completed'],
        ],
      );
      assert.match(textOf(pair.master, 1), 'action="verified"');
      assert.match(textOf(pair.master, 1), '<xxh64');
      assert.match(textOf(pair.master, 1), '<xxh128', 'a known format ties it to the generation before');
      assert.equal(brief(await manifest(pair, { check: true })), []);
      assert.not(existsSync(join(pair.master, '.tandem', 'lock')));
    },
  ));

test('altered, missing and extra files are found, and a new generation marks what failed', () =>
  withPair({ master: { 'a.txt': 'one', 'b.txt': 'two', 'c.txt': 'three' } }, async (pair) => {
    await pair.sync();
    await manifest(pair);
    edit(pair.backup, { 'a.txt': 'ONE', 'new.txt': 'x' });
    rmSync(join(pair.backup, 'b.txt'));
    const checked = await manifest(pair, { check: true });
    assert.equal(brief(checked), ['backup a.txt altered', 'backup b.txt missing', 'backup new.txt extra']);
    assert.equal(
      checked.map(({ status }) => status),
      ['completed', 'failed'],
    );
    const written = await manifest(pair, { side: 'backup' });
    assert.equal(brief(written), ['backup a.txt altered', 'backup b.txt missing']);
    assert.match(textOf(pair.backup, 1), 'action="failed"');
    assert.equal(brief(await manifest(pair, { check: true, side: 'backup' })), ['backup a.txt altered']);
    const { code } = await pair.box.run(['verify', 'manifest', 'Archive', '--check']);
    assert.is(code, 4);
  }));

test('a tampered, missing or foreign generation is a finding, and nothing is added to it', () =>
  withPair({ master: { 'a.txt': 'one' } }, async (pair) => {
    await pair.sync();
    await manifest(pair);
    await manifest(pair);
    const home = join(pair.master, 'ascmhl');
    const [one = '', two = '', chain = ''] = namesOf(pair.master);
    const expectDamage = async (pattern: RegExp): Promise<void> => {
      const [result] = await manifest(pair, { check: true, side: 'master' });
      assert.is(result?.status, 'failed');
      assert.match(result?.findings.map(({ path, message }) => `${path} ${message}`).join('\n') ?? '', pattern);
      const before = namesOf(pair.master);
      assert.is((await refusal(manifest(pair, { side: 'master' }))).code, 'invalid');
      assert.equal(namesOf(pair.master), before);
    };
    const original = readFileSync(join(home, two));
    appendFileSync(join(home, two), '\n');
    await expectDamage(/changed since it was written/);
    rmSync(join(home, two));
    await expectDamage(/is missing/);
    writeFileSync(join(home, two), original);
    writeFileSync(join(home, '0007_other.mhl'), original);
    await expectDamage(/not named in the chain/);
    rmSync(join(home, '0007_other.mhl'));
    renameSync(join(home, chain), join(home, 'away'));
    await expectDamage(/nothing proves the generations/);
    writeFileSync(join(home, chain), '<!DOCTYPE a><x/>');
    await expectDamage(/cannot be read/);
    renameSync(join(home, 'away'), join(home, chain));
    assert.equal(brief(await manifest(pair, { check: true })), []);
    assert.ok(one !== '');
  }));

test('the history of a folder is written on the Master, travels with a sync, and is checked on both', () =>
  withPair({ master: { 'P/Reel/a.mov': 'one', 'P/b.txt': 'two' } }, async (pair) => {
    await pair.sync();
    assert.is((await refusal(manifest(pair, { path: 'P', side: 'backup' }))).code, 'invalid');
    assert.is((await refusal(manifest(pair, { path: 'P', check: true }))).code, 'invalid');
    const [written] = await manifest(pair, { path: 'P' });
    assert.match(written?.manifest ?? '', /^P\/ascmhl\/0001_P_/);
    await pair.sync();
    assert.equal(
      readdirSync(join(pair.backup, 'P', 'ascmhl')).sort(),
      readdirSync(join(pair.master, 'P', 'ascmhl')).sort(),
    );
    const checked = await manifest(pair, { path: 'P', check: true });
    assert.equal(
      checked.map(({ files_verified, status }) => [files_verified, status]),
      [
        [2, 'completed'],
        [2, 'completed'],
      ],
    );
  }));

test('rot that the baseline knows of is not vouched for, and hostile names are left out and said', () =>
  withPair({ master: { 'a.txt': 'one', 'b.txt': 'two', 'c\u001b.txt': 'x' } }, async (pair) => {
    await pair.sync();
    const db = await pair.ctx.db();
    await db.run(
      "UPDATE file_sync_history SET checksum = replace(checksum, substr(checksum, 1, 8), '00000000') WHERE relative_path = 'b.txt'",
    );
    const [result] = await manifest(pair, { side: 'master' });
    assert.equal(
      result?.findings.map(({ path, kind }) => [path, kind]),
      [
        ['b.txt', 'rot'],
        ['c\u001b.txt', 'unlisted'],
      ],
    );
    assert.not.match(textOf(pair.master, 0), 'b.txt');
    assert.match(textOf(pair.master, 0), 'a.txt');
    const printed = await pair.box.run(['verify', 'manifest', 'Archive', '--side', 'master', '--check']);
    assert.is(printed.code, 4);
    assert.not.match(printed.stdout, '\u001b.txt');
  }));

test.run();
