/**
 * The database's tables, as a list of migrations: entry N brings `PRAGMA user_version` from N to N + 1. Entries are only
 * ever added. The first columns of `sync_operations` and `file_sync_history` are those of the reference; ours follow.
 */
export const MIGRATIONS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE sync_operations (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      group_id TEXT NOT NULL,
      operation_type TEXT NOT NULL,
      start_time TIMESTAMP NOT NULL,
      end_time TIMESTAMP,
      files_copied INTEGER DEFAULT 0,
      files_skipped INTEGER DEFAULT 0,
      files_failed INTEGER DEFAULT 0,
      bytes_copied INTEGER DEFAULT 0,
      status TEXT NOT NULL,
      uuid TEXT NOT NULL UNIQUE,
      target_kind TEXT NOT NULL,
      target_name TEXT NOT NULL,
      subpath TEXT NOT NULL DEFAULT '',
      files_moved INTEGER NOT NULL DEFAULT 0,
      files_deleted INTEGER NOT NULL DEFAULT 0,
      conflicts_detected INTEGER NOT NULL DEFAULT 0,
      verified TEXT NOT NULL DEFAULT 'none',
      reason TEXT,
      problems TEXT NOT NULL DEFAULT '[]',
      process_id INTEGER NOT NULL,
      process_start TEXT NOT NULL,
      boot_id TEXT NOT NULL,
      pid_namespace TEXT NOT NULL,
      progress TEXT,
      control TEXT NOT NULL DEFAULT ''
    )`,
    'CREATE INDEX sync_operations_group ON sync_operations (group_id, id)',
    "CREATE INDEX sync_operations_running ON sync_operations (status) WHERE status = 'running'",
    `CREATE TABLE operation_files (
      operation_id INTEGER NOT NULL REFERENCES sync_operations (id) ON DELETE CASCADE,
      seq INTEGER NOT NULL,
      path TEXT NOT NULL,
      action TEXT NOT NULL,
      size INTEGER NOT NULL,
      status TEXT NOT NULL,
      message TEXT,
      PRIMARY KEY (operation_id, seq)
    ) WITHOUT ROWID`,
    `CREATE TABLE pairs (
      id INTEGER PRIMARY KEY,
      group_id TEXT NOT NULL,
      master_uuid TEXT NOT NULL,
      backup_uuid TEXT NOT NULL,
      UNIQUE (master_uuid, backup_uuid)
    )`,
    // `master_facts` and `backup_facts` are what a listing said of the path on that side when both last agreed (the
    // format is in shared/listing.ts); `check_a` and `check_b` are two 32-bit hashes of both, whose sums over a
    // subtree tell without reading the rows whether anything in it differs from a listing.
    `CREATE TABLE file_sync_history (
      id INTEGER PRIMARY KEY,
      group_id TEXT NOT NULL,
      relative_path TEXT NOT NULL,
      checksum TEXT NOT NULL,
      last_synced TIMESTAMP NOT NULL,
      file_size INTEGER NOT NULL,
      operation_type TEXT NOT NULL,
      pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
      checksum_algorithm TEXT NOT NULL,
      master_facts TEXT NOT NULL,
      backup_facts TEXT NOT NULL,
      link_target TEXT NOT NULL DEFAULT '',
      stored_name TEXT NOT NULL DEFAULT '',
      doubt TEXT NOT NULL DEFAULT '',
      check_a INTEGER NOT NULL,
      check_b INTEGER NOT NULL,
      UNIQUE (pair_id, relative_path)
    )`,
    // Holds all that the sums need, so that they never touch the wide rows.
    'CREATE INDEX file_sync_history_checks ON file_sync_history (pair_id, relative_path, check_a, check_b, doubt)',
  ],
  [
    // The inbox: one row for each path that waits for a decision; the facts are those that were seen when it was found.
    `CREATE TABLE conflicts (
      id INTEGER PRIMARY KEY,
      pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
      group_id TEXT NOT NULL,
      path TEXT NOT NULL,
      conflict_type TEXT NOT NULL,
      reason TEXT NOT NULL,
      entry TEXT NOT NULL,
      master_facts TEXT,
      backup_facts TEXT,
      detected_at TIMESTAMP NOT NULL,
      operation_id INTEGER,
      UNIQUE (pair_id, path)
    )`,
    // When its content was last read and found to be as recorded, on both sides apart.
    'ALTER TABLE file_sync_history ADD COLUMN master_verified TIMESTAMP',
    'ALTER TABLE file_sync_history ADD COLUMN backup_verified TIMESTAMP',
    // The rules of the last run that left files out; deletions and replacements count from `acknowledged_at`.
    "ALTER TABLE pairs ADD COLUMN filters TEXT NOT NULL DEFAULT ''",
    'ALTER TABLE pairs ADD COLUMN acknowledged_at TIMESTAMP',
    // Of the state that both drives carry: the last generation this computer wrote or took over.
    "ALTER TABLE pairs ADD COLUMN generation TEXT NOT NULL DEFAULT ''",
  ],
  [
    // What changed since the generation that the drives carry: `r` a row of the baseline, `c` a conflict. Kept by triggers,
    // so that no writer can forget it; a pair without a generation is carried as a whole and needs none of it.
    `CREATE TABLE state_changes (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
      kind TEXT NOT NULL,
      path TEXT NOT NULL,
      UNIQUE (pair_id, kind, path)
    )`,
    ...changeTriggers('r', 'file_sync_history', 'relative_path', [
      'checksum',
      'checksum_algorithm',
      'master_facts',
      'backup_facts',
      'link_target',
      'stored_name',
      'doubt',
      'relative_path',
      'pair_id',
    ]),
    ...changeTriggers('c', 'conflicts', 'path', [
      'conflict_type',
      'reason',
      'entry',
      'master_facts',
      'backup_facts',
      'path',
      'pair_id',
    ]),
  ],
  [
    // An operation over several groups has a row of its own that counts its `parts`, whose rows name it as their parent;
    // its `group_id` is the project's id.
    'ALTER TABLE sync_operations ADD COLUMN parent_id INTEGER',
    'ALTER TABLE sync_operations ADD COLUMN parts INTEGER NOT NULL DEFAULT 0',
    "ALTER TABLE sync_operations ADD COLUMN role TEXT NOT NULL DEFAULT ''",
    'CREATE INDEX sync_operations_parts ON sync_operations (parent_id) WHERE parent_id IS NOT NULL',
  ],
  [
    // The checksum that manifests list, by the one that the baseline records of the same content: so it stays known when a
    // file is renamed, restored or recorded anew.
    `CREATE TABLE mhl_hashes (
      checksum TEXT PRIMARY KEY,
      mhl_checksum TEXT NOT NULL
    ) WITHOUT ROWID`,
  ],
  [
    // What another process set for a running operation, in MB per second; 0: without limit, null: as the options say.
    'ALTER TABLE sync_operations ADD COLUMN bandwidth_limit REAL',
  ],
  [
    // Whether a pair has files that are compressed or sealed is asked before every run.
    `CREATE INDEX file_sync_history_stored ON file_sync_history (pair_id, relative_path, stored_name)
      WHERE stored_name <> ''`,
  ],
  [
    // Runs up to `covered` are accounted for. `due` is the run that is owed since then and waits or goes on; `runner` the
    // process that carries it out. The target's name is the one it had when the schedule was made.
    `CREATE TABLE schedules (
      schedule_id TEXT PRIMARY KEY,
      target_kind TEXT NOT NULL,
      target_id TEXT NOT NULL,
      target_name TEXT NOT NULL,
      role TEXT NOT NULL DEFAULT '',
      subpath TEXT NOT NULL DEFAULT '',
      trigger_kind TEXT NOT NULL,
      expression TEXT NOT NULL DEFAULT '',
      zone TEXT NOT NULL DEFAULT '',
      seconds REAL NOT NULL DEFAULT 0,
      job TEXT NOT NULL,
      sample REAL,
      verify INTEGER NOT NULL DEFAULT 0,
      eject TEXT NOT NULL DEFAULT '',
      missed TEXT NOT NULL,
      enabled INTEGER NOT NULL DEFAULT 1,
      created TIMESTAMP NOT NULL,
      covered TIMESTAMP NOT NULL,
      next_run TIMESTAMP,
      due TIMESTAMP,
      waiting TEXT,
      runner TEXT,
      last_run TIMESTAMP,
      last_status TEXT,
      last_message TEXT,
      last_operation TEXT
    )`,
  ],
  [
    // What is, or is to be, watched: one row for each folder on the drives of one group. `enabled`: the daemon starts it;
    // the other columns are written by the process that watches, and mean nothing once it is gone.
    `CREATE TABLE watchers (
      watch_id TEXT PRIMARY KEY,
      target TEXT NOT NULL,
      group_id TEXT NOT NULL,
      project_id TEXT NOT NULL DEFAULT '',
      role TEXT NOT NULL DEFAULT '',
      subpath TEXT NOT NULL DEFAULT '',
      debounce_seconds REAL,
      enabled INTEGER NOT NULL DEFAULT 0,
      paused INTEGER NOT NULL DEFAULT 0,
      watch_path TEXT NOT NULL DEFAULT '',
      status TEXT NOT NULL DEFAULT 'stopped',
      message TEXT NOT NULL DEFAULT '',
      last_event TIMESTAMP,
      last_sync TIMESTAMP,
      queue_length INTEGER NOT NULL DEFAULT 0,
      process TEXT NOT NULL DEFAULT '',
      UNIQUE (group_id, project_id, role, subpath)
    )`,
  ],
  [
    // The one daemon of this database: its process, and what others ask of it.
    `CREATE TABLE daemon (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      process TEXT NOT NULL,
      version TEXT NOT NULL,
      started TIMESTAMP NOT NULL,
      heartbeat TIMESTAMP NOT NULL,
      metrics TEXT NOT NULL DEFAULT '',
      message TEXT NOT NULL DEFAULT '',
      control TEXT NOT NULL DEFAULT ''
    )`,
  ],
  [
    // `schedule NAME`, `watch`, `dashboard`; empty: a person on the command line, or another program.
    "ALTER TABLE sync_operations ADD COLUMN started_by TEXT NOT NULL DEFAULT ''",
  ],
  [
    // When it was last told that the Backup of a group is overdue.
    `CREATE TABLE reminders (
      group_id TEXT PRIMARY KEY,
      told TIMESTAMP NOT NULL
    ) WITHOUT ROWID`,
  ],
];

// --- internal ---

/** A verified date alone is no change: it does not travel. */
function changeTriggers(kind: string, table: string, path: string, columns: readonly string[]): string[] {
  // Not INSERT OR REPLACE: the conflict clause of the statement that fired the trigger would override it.
  const note = (row: 'new' | 'old'): string => `DELETE FROM state_changes
      WHERE pair_id = ${row}.pair_id AND kind = '${kind}' AND path = ${row}.${path};
    INSERT INTO state_changes (pair_id, kind, path) VALUES (${row}.pair_id, '${kind}', ${row}.${path});`;
  const carried = (row: 'new' | 'old'): string => `(SELECT generation FROM pairs WHERE id = ${row}.pair_id) <> ''`;
  const trigger = (name: string, event: string, when: string, body: string): string =>
    `CREATE TRIGGER ${table}_${name} AFTER ${event} ON ${table} WHEN ${when} BEGIN ${body} END`;
  return [
    trigger('added', 'INSERT', carried('new'), note('new')),
    trigger('removed', 'DELETE', carried('old'), note('old')),
    trigger(
      'changed',
      `UPDATE OF ${columns.join(', ')}`,
      `${carried('old')} OR ${carried('new')}`,
      `${note('old')} ${note('new')}`,
    ),
  ];
}
