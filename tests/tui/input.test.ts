/** Bytes of a terminal → keys: however the network tears them apart. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Input, type InputEvent } from '../../tui/input.ts';
import '../helpers/property.ts';

const test = suite('input');

/** Feeds the chunks; the timer of a lone ESC goes off only at the end. */
function read(chunks: readonly string[]): string[] {
  const found: string[] = [];
  let late = (): void => {};
  const say = (event: InputEvent): void => {
    if (event.kind === 'key') found.push(event.name);
    else if (event.kind === 'paste') found.push(`paste ${JSON.stringify(event.text)}`);
    else found.push(`${event.action} ${event.x},${event.y}`);
  };
  const input = new Input({
    emit: say,
    escapeDelay: 50,
    setTimer: (work) => {
      late = work;
      return () => {
        late = () => {};
      };
    },
  });
  for (const chunk of chunks) input.feed(chunk);
  late();
  return found;
}

const CASES: readonly (readonly [bytes: string, events: readonly string[]])[] = [
  ['jG/é東', ['j', 'G', '/', 'é', '東']],
  ['\r', ['enter']],
  ['\n', ['enter']],
  ['\r\n', ['enter']],
  ['\t \x7f', ['tab', 'space', 'backspace']],
  ['\x1b[A\x1b[B\x1bOC\x1bOD', ['up', 'down', 'right', 'left']],
  ['\x1b[Z\x1b[1;5C\x1b[1;2A', ['S-tab', 'C-right', 'S-up']],
  ['\x1b[5~\x1b[6~\x1b[H\x1b[F\x1b[3~', ['pgup', 'pgdn', 'home', 'end', 'delete']],
  ['\x1bOP\x1b[15~\x1b[24~', ['f1', 'f5', 'f12']],
  ['\x03\x04\x15\x1a', ['C-c', 'C-d', 'C-u', 'C-z']],
  ['\x1b', ['esc']],
  ['\x1bx', ['M-x']],
  ['\x1b\x1b[A', ['esc', 'up']],
  ['\x1b[<0;10;5M\x1b[<0;10;5m', ['click 9,4']],
  ['\x1b[<64;1;1M\x1b[<65;1;1M\x1b[<35;3;3M', ['wheelup 0,0', 'wheeldown 0,0']],
  ['\x1b[200~q\rrm -rf\x1b[A\x1b[201~j', ['paste "q\\rrm -rf\\u001b[A"', 'j']],
  ['\x1b[?1;2cj\x1b[99;99Xk', ['j', 'k']],
];

test('each sequence is its key', () => {
  for (const [bytes, events] of CASES) assert.equal(read([bytes]), events, JSON.stringify(bytes));
});

test('torn apart at any place, the same events come out', () => {
  // What a lone ESC means depends on what comes with it: those two cases hold for whole chunks only.
  const torn = CASES.filter(([bytes]) => bytes !== '\r\n');
  fc.assert(
    fc.property(fc.constantFrom(...torn), fc.array(fc.nat(40), { maxLength: 6 }), ([bytes, events], cuts) => {
      const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
      const chunks = places.slice(1).map((place, index) => bytes.slice(places[index], place));
      assert.equal(read(chunks), events);
    }),
  );
});

test('an escape that stays alone, and a paste that never ends, are given up after a while', () => {
  assert.equal(read(['\x1b[']), ['M-[']);
  assert.equal(read(['\x1b[200~half']), ['paste "half"']);
  assert.equal(read(['\x1b[1;']), []);
});

test('any bytes at all: nothing is lost behind them', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 30 }), (bytes) => {
      if (bytes.includes('\x1b[200~')) return;
      assert.is(read([bytes, '\x1b[A', '\x1b[B']).at(-1), 'down');
    }),
  );
});

test.run();
