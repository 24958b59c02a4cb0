/** The history as the files that other programs read. */

interface Ended {
  start_time: string;
  end_time: string | null;
  reason: string | null;
}

/** What of an operation is written. */
interface Listed extends Ended {
  id: number;
  group_id: string;
  operation_type: string;
  status: string;
  files_copied: number;
  files_skipped: number;
  files_failed: number;
  bytes_copied: number;
}

/** How long it took; null while it runs, and when it was interrupted. */
export function secondsOf(operation: Ended): number | null {
  if (operation.end_time === null || operation.reason === 'interrupted') return null;
  return Math.max(0, (Date.parse(operation.end_time) - Date.parse(operation.start_time)) / 1000);
}

/** RFC 4180 quoting, times `YYYY-MM-DD hh:mm:ss` in UTC, with the reference's columns. */
export function csvOf(operations: readonly Listed[]): string {
  const time = (iso: string | null): string => (iso ?? '').slice(0, 19).replace('T', ' ');
  const quoted = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = operations.map((one) => {
    const counts = [one.files_copied, one.files_skipped, one.files_failed, one.bytes_copied];
    const times = [secondsOf(one)?.toFixed(1) ?? '', time(one.start_time), time(one.end_time)];
    return [one.id, quoted(one.operation_type), one.status, ...counts, ...times].join(',');
  });
  const head =
    'Operation ID,Type,Status,Files Copied,Files Skipped,Files Failed,Bytes Copied,Duration (s),Start Time,End Time';
  return [head, ...lines, ''].join('\n');
}

/** With the reference's fields. */
export function jsonOf(operations: readonly Listed[], now: Date): string {
  const time = (iso: string): string => iso.replace(/\.\d+Z$/, 'Z');
  const entries = operations.map(({ id, group_id, operation_type, status, start_time, end_time, ...counts }) => {
    const { files_copied, files_skipped, files_failed, bytes_copied } = counts;
    const times = { start_time: time(start_time), end_time: end_time === null ? null : time(end_time) };
    const numbers = { files_copied, files_skipped, files_failed, bytes_copied };
    return { id, group_id, operation_type, status, ...times, ...numbers };
  });
  const document = { operations: entries, export_time: time(now.toISOString()), total_operations: entries.length };
  return `${JSON.stringify(document, null, 2)}\n`;
}
