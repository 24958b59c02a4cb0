/**
 * A recovery key as it stands on paper: 32 random bytes as four lines of fifteen signs in Crockford's base 32, which has
 * no I, L, O and U. Each line ends in a check of its own that finds every wrong sign and every two neighbours that changed
 * places, and lines that did; so a line is checked as soon as it is typed.
 */

export const RECOVERY_LINES = 4;
const BYTES = 32;
const SIGNS = 15;
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
/** The largest prime below 32²; no power of 32 up to the fourteenth is 1 modulo it, so that any two signs may change places. */
const MODULUS = 1021n;

/** Four lines such as `01234-56789-ABCDE`. */
export function recoveryLines(key: Uint8Array): string[] {
  return Array.from({ length: RECOVERY_LINES }, (_, line) => {
    const bytes = Buffer.from(key.buffer, key.byteOffset + line * 8, 8);
    const data = bytes.readBigUInt64BE() << 10n;
    const check = (MODULUS - ((data + BigInt(line)) % MODULUS)) % MODULUS;
    const signs = Array.from({ length: SIGNS }, (_, at) => {
      const shift = BigInt(5 * (SIGNS - 1 - at));
      return ALPHABET[Number(((data | check) >> shift) & 31n)] ?? '';
    });
    return [0, 5, 10].map((at) => signs.slice(at, at + 5).join('')).join('-');
  });
}

/**
 * What was typed, if it has the form of a recovery key: spaces, hyphens and case do not count, O is 0, I and L are 1.
 * @returns the key; or the numbers (from 1) of the lines that are mistyped; undefined for any other text.
 */
export function readRecoveryKey(text: string): { key: Buffer } | { wrong: number[] } | undefined {
  const signs = signsOf(text);
  if (signs?.length !== RECOVERY_LINES * SIGNS) return undefined;
  const key = Buffer.alloc(BYTES);
  const wrong: number[] = [];
  for (let line = 0; line < RECOVERY_LINES; line += 1) {
    const value = lineValue(signs.slice(line * SIGNS, (line + 1) * SIGNS), line);
    if (value === undefined) wrong.push(line + 1);
    else key.writeBigUInt64BE(value, line * 8);
  }
  if (wrong.length === 0) return { key };
  key.fill(0);
  return { wrong };
}

/** Whether the text is line `number` (from 1) of some recovery key, without a mistake. */
export function isRecoveryLine(text: string, number: number): boolean {
  const signs = signsOf(text);
  return signs?.length === SIGNS && lineValue(signs, number - 1) !== undefined;
}

// --- internal ---

/** The value of each sign; undefined when something else is among them. */
function signsOf(text: string): number[] | undefined {
  const plain = text.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1');
  const signs = Array.from(plain, (sign) => ALPHABET.indexOf(sign));
  return signs.includes(-1) ? undefined : signs;
}

function lineValue(signs: readonly number[], line: number): bigint | undefined {
  const whole = signs.reduce((value, sign) => (value << 5n) | BigInt(sign), 0n);
  const data = whole >> 10n;
  // Fifteen signs have a bit more than a line needs.
  return data < 1n << 64n && (whole + BigInt(line)) % MODULUS === 0n ? data : undefined;
}
