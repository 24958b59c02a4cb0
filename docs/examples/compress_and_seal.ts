/** One file compressed and sealed, and both taken back: `npx tsx docs/examples/compress_and_seal.ts FILE PASSWORD_FILE` */
import { openFile, sealFile } from '../../features/encrypt.ts';
import { compressFile, decompressFile } from '../../shared/compress-files.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { displayPath } from '../../shared/paths.ts';
import { secretInFile } from '../../shared/secrets.ts';
import { spaceSavings } from '../../shared/space.ts';

const [file, passwordFile] = process.argv.slice(2);
const ctx = createContext();
try {
  if (!file || !passwordFile)
    throw new TandemError('usage', 'Give a file, and a file, mode 600, that holds a password.');
  const secret = secretInFile({ passwordFile });
  if (!secret) throw new TandemError('usage', 'Give a file that holds a password.');
  const packed = compressFile(file, `${file}.lz4`, 'lz4', 3);
  const sealed = await sealFile(packed.output, `${packed.output}.encrypted`, secret, ctx);
  console.log(`Sealed: ${displayPath(sealed.output)}, ${packed.kind}`);
  const report = spaceSavings({
    original_size: packed.bytes_in,
    compressed_size: sealed.bytes_out,
    files_processed: 1,
  });
  console.log(`Space saved: ${report.space_saved_percent.toFixed(1)}%`);
  const opened = await openFile(sealed.output, packed.output, () => secret, ctx);
  const back = decompressFile(opened.output, `${file}.restored`);
  console.log(`Restored: ${displayPath(back.output)}, ${back.bytes_out} bytes`);
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = error instanceof TandemError ? error.exitCode : 1;
} finally {
  await ctx.close();
}
