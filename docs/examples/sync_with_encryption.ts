/** A sync onto a compressed and sealed Backup, and what it saves: `npx tsx docs/examples/sync_with_encryption.ts GROUP PASSWORD_FILE` */
import { resolve } from 'node:path';
import { getGroup, setGroupOptions } from '../../features/groups.ts';
import { hasKeyring, initKeyring, withDrives } from '../../features/keyring.ts';
import { syncToBackup } from '../../features/sync.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { displayPath } from '../../shared/paths.ts';
import { secretInFile } from '../../shared/secrets.ts';
import { calculateSpaceSavings } from '../../shared/storage.ts';

const [name, passwordFile] = process.argv.slice(2);
const ctx = createContext();
try {
  if (!name || !passwordFile)
    throw new TandemError('usage', 'Give a group and a file, mode 600, that holds a password.');
  const secret = secretInFile({ passwordFile });
  if (!secret) throw new TandemError('usage', 'Give a file that holds a password.');
  const group = getGroup(name, ctx);
  if (!(await withDrives(group, ctx, (drives) => hasKeyring(group, drives, ctx)))) {
    const { recovery } = await initKeyring(group, secret, ctx);
    console.log(`Recovery key, to be kept on paper:\n${recovery.join('\n')}`);
  }
  const options = ['enable_encryption=true', 'enable_compression=true', 'compression_type=gzip', 'compression_level=6'];
  await setGroupOptions(group.id, [...options, `encryption_password_file=${resolve(passwordFile)}`], undefined, ctx);
  const result = await syncToBackup(group.id, {}, ctx);
  console.log(`${result.status}: ${result.files_copied} copied`);
  for (const { path, message } of result.problems) console.log(`! ${displayPath(path)}: ${displayPath(message)}`);
  const report = await calculateSpaceSavings(getGroup(name, ctx), ctx);
  if (report) {
    console.log(`Files: ${report.files_processed}`);
    console.log(`Compression ratio: ${report.compression_ratio.toFixed(2)}`);
    console.log(`Space saved: ${report.space_saved_bytes} bytes, ${report.space_saved_percent.toFixed(1)}%`);
  }
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = error instanceof TandemError ? error.exitCode : 1;
} finally {
  await ctx.close();
}
