/** Mode, owner, times and attributes of what is written, as far as the drive keeps them. */
import { closeSync, constants, fchmodSync, fchownSync, lchownSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Attributes,
  type Dir,
  openAt,
  readAttributes,
  type Stat,
  setTimes,
  setTimesAt,
  type Time,
  writeAttributes,
} from './syscalls.ts';
import type { TransferSession } from './tasks.ts';

export class Metadata {
  private readonly session: TransferSession;

  constructor(session: TransferSession) {
    this.session = session;
  }

  /** `created`: the permission bits that creating the file has already given it. */
  apply(fd: number, stat: Stat, attributes: Attributes, created: number | null): void {
    if (this.session.traits.permissions) {
      if (this.session.owner && (stat.uid !== ownUid || stat.gid !== ownGid)) fchownSync(fd, stat.uid, stat.gid);
      if (stat.mode !== created) fchmodSync(fd, stat.mode);
    }
    if (attributes.length > 0 || created === null) writeAttributes(fd, attributes);
    setTimes(fd, this.clamp(stat.mtime));
  }

  /** Owner and times of a symbolic link itself. */
  applyToLink(dir: Dir, name: string, stat: Stat): void {
    if (this.session.owner) lchownSync(join(dir.path, name), stat.uid, stat.gid);
    setTimesAt(dir, name, this.clamp(stat.mtime));
  }

  private clamp(time: Time): Time {
    const { minTime, maxTime } = this.session.traits;
    if (time.seconds < minTime) return { seconds: minTime, nanoseconds: 0 };
    return time.seconds >= maxTime ? { seconds: maxTime, nanoseconds: 0 } : time;
  }

  /** Makes what is there at one name like what is there at the same name, or another one, of another folder. */
  mirror(from: Dir, to: Dir, name: string, stat: Stat, toName = name): void {
    if (stat.kind === 'l') {
      this.applyToLink(to, toName, stat);
      return;
    }
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | (stat.kind === 'd' ? constants.O_DIRECTORY : 0);
    const source = openAt(from, name, flags);
    try {
      const target = openAt(to, toName, flags);
      try {
        this.apply(target, stat, readAttributes(source), null);
      } finally {
        closeSync(target);
      }
    } finally {
      closeSync(source);
    }
  }
}

const ownUid = process.geteuid?.() ?? -1;
const ownGid = process.getegid?.() ?? -1;
