/** Two texts beside each other, line by line: what is the same stands on the same line. Pure. */

export interface Pair {
  /** Undefined: this side has no such line. */
  left: string | undefined;
  right: string | undefined;
  same: boolean;
}

/** The lines of both in their order; between lines that both have, those that only one has stand beside each other. */
export function aligned(left: readonly string[], right: readonly string[]): readonly Pair[] {
  const known = KNOWN.get(left);
  if (known?.right === right) return known.pairs;
  const pairs = align(left, right);
  KNOWN.set(left, { right, pairs });
  return pairs;
}

/** Where to begin to show them, so that the first difference is seen with some lines above it. */
export function firstDifference(pairs: readonly Pair[], room: number): number {
  const at = pairs.findIndex(({ same }) => !same);
  return at < 0 ? 0 : Math.max(0, Math.min(at - ABOVE, pairs.length - room));
}

// --- internal ---

const ABOVE = 3;
/** Lines in between beyond which they are only counted off against each other. */
const MOST = 600;

const KNOWN = new WeakMap<readonly string[], { right: readonly string[]; pairs: readonly Pair[] }>();

function align(left: readonly string[], right: readonly string[]): Pair[] {
  const most = Math.min(left.length, right.length);
  let head = 0;
  while (head < most && left[head] === right[head]) head += 1;
  let tail = 0;
  while (tail < most - head && left.at(-1 - tail) === right.at(-1 - tail)) tail += 1;
  const both = (line: string): Pair => ({ left: line, right: line, same: true });
  return [
    ...left.slice(0, head).map(both),
    ...between(left.slice(head, left.length - tail), right.slice(head, right.length - tail)),
    ...left.slice(left.length - tail).map(both),
  ];
}

function between(left: readonly string[], right: readonly string[]): Pair[] {
  if (left.length > MOST || right.length > MOST) return beside(left, right);
  const length = commonLengths(left, right);
  const width = right.length + 1;
  const pairs: Pair[] = [];
  let [l, r] = [0, 0];
  let [fromL, fromR] = [0, 0];
  while (l < left.length && r < right.length) {
    if (left[l] === right[r]) {
      pairs.push(...beside(left.slice(fromL, l), right.slice(fromR, r)), {
        left: left[l],
        right: right[r],
        same: true,
      });
      l += 1;
      r += 1;
      [fromL, fromR] = [l, r];
    } else if ((length[(l + 1) * width + r] ?? 0) >= (length[l * width + r + 1] ?? 0)) l += 1;
    else r += 1;
  }
  return [...pairs, ...beside(left.slice(fromL), right.slice(fromR))];
}

/** Of each two rests, how many lines they have in common. */
function commonLengths(left: readonly string[], right: readonly string[]): Uint16Array {
  const width = right.length + 1;
  const length = new Uint16Array((left.length + 1) * width);
  for (let l = left.length - 1; l >= 0; l -= 1)
    for (let r = right.length - 1; r >= 0; r -= 1)
      length[l * width + r] =
        left[l] === right[r]
          ? (length[(l + 1) * width + r + 1] ?? 0) + 1
          : Math.max(length[(l + 1) * width + r] ?? 0, length[l * width + r + 1] ?? 0);
  return length;
}

function beside(left: readonly string[], right: readonly string[]): Pair[] {
  return Array.from({ length: Math.max(left.length, right.length) }, (_, index) => ({
    left: left[index],
    right: right[index],
    same: false,
  }));
}
