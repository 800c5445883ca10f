import fs from 'node:fs';
import path from 'node:path';
import type { SqliteModule } from '@sluice/client/core';

/** Called before each change of a file; what it throws becomes an I/O error. Tests end the run there. */
export type ChangeObserver = (change: 'write' | 'truncate' | 'sync' | 'delete', file: string) => void;

interface OpenFile {
  readonly fd: number;
  readonly path: string;
  readonly deleteOnClose: boolean;
}
const PATH_BYTES_MAX = 1024;

/**
 * A SQLite VFS over node:fs for one owner per file: no shared memory, and locks are no-ops because a lock file beside the
 * database keeps other owners out. Sync is a real fsync, so a commit is as durable as the pragmas say.
 * @param name unique within the module
 */
export function installFileVfs(module: SqliteModule, name: string, onChange: ChangeObserver = () => undefined): void {
  const { capi, wasm, vfs } = module.api;
  const files = new Map<unknown, OpenFile>();
  const fileOf = (pointer: unknown): OpenFile => {
    const file = files.get(pointer);
    if (!file) throw new Error('not an open file');
    return file;
  };
  /** An error in a method must not unwind through SQLite's C frames. */
  const guarded = (failure: number, work: () => number): number => {
    try {
      return work();
    } catch (error) {
      return isFull(error) ? capi.SQLITE_FULL : failure;
    }
  };

  const io = new capi.sqlite3_io_methods();
  // Version 1 has no shared memory: SQLite then keeps the WAL's index in its own, which exclusive locking allows.
  membersOf(io).$iVersion = 1;
  const ioMethods = {
    xClose: (file: number) =>
      guarded(capi.SQLITE_IOERR_CLOSE, () => {
        const { fd, path: name, deleteOnClose } = fileOf(file);
        files.delete(file);
        fs.closeSync(fd);
        if (deleteOnClose) fs.rmSync(name, { force: true });
        return capi.SQLITE_OK;
      }),
    xRead: (file: number, to: number, count: number, offset: bigint) =>
      guarded(capi.SQLITE_IOERR_READ, () => {
        const read = readFully(fileOf(file).fd, module.bytes(), { to, count, offset: Number(offset) });
        if (read === count) return capi.SQLITE_OK;
        module.bytes().fill(0, to + read, to + count);
        return capi.SQLITE_IOERR_SHORT_READ;
      }),
    xWrite: (file: number, from: number, count: number, offset: bigint) =>
      guarded(capi.SQLITE_IOERR_WRITE, () => {
        const { fd, path: name } = fileOf(file);
        onChange('write', name);
        const bytes = module.bytes();
        for (let done = 0; done < count; )
          done += fs.writeSync(fd, bytes, from + done, count - done, Number(offset) + done);
        return capi.SQLITE_OK;
      }),
    xTruncate: (file: number, size: bigint) =>
      guarded(capi.SQLITE_IOERR_TRUNCATE, () => {
        const { fd, path: name } = fileOf(file);
        onChange('truncate', name);
        fs.ftruncateSync(fd, Number(size));
        return capi.SQLITE_OK;
      }),
    xSync: (file: number) =>
      guarded(capi.SQLITE_IOERR_FSYNC, () => {
        const { fd, path: name } = fileOf(file);
        onChange('sync', name);
        fs.fsyncSync(fd);
        return capi.SQLITE_OK;
      }),
    xFileSize: (file: number, out: number) =>
      guarded(capi.SQLITE_IOERR_FSTAT, () => {
        wasm.poke64(out, BigInt(fs.fstatSync(fileOf(file).fd).size));
        return capi.SQLITE_OK;
      }),
    xLock: () => capi.SQLITE_OK,
    xUnlock: () => capi.SQLITE_OK,
    xCheckReservedLock: (_file: number, out: number) => {
      // Nobody else can hold one; any other answer would make SQLite skip the roll-back of a hot journal.
      wasm.poke32(out, 0);
      return capi.SQLITE_OK;
    },
    xFileControl: () => capi.SQLITE_NOTFOUND,
    xSectorSize: () => 4096,
    xDeviceCharacteristics: () => capi.SQLITE_IOCAP_POWERSAFE_OVERWRITE,
  };

  const struct = new capi.sqlite3_vfs();
  const defaultVfs = new capi.sqlite3_vfs(capi.sqlite3_vfs_find(null as never));
  const inherited = membersOf(defaultVfs);
  Object.assign(membersOf(struct), {
    $iVersion: 1,
    $szOsFile: membersOf(capi.sqlite3_file).structInfo.sizeof,
    $mxPathname: PATH_BYTES_MAX,
    $xRandomness: inherited.$xRandomness,
    $xSleep: inherited.$xSleep,
    $xCurrentTime: inherited.$xCurrentTime,
  });
  defaultVfs.dispose();
  const vfsMethods = {
    xOpen: (_vfs: number, zName: number, file: number, flags: number, outFlags: number) =>
      guarded(capi.SQLITE_CANTOPEN, () => {
        // Temporary files have no name; temp_store = memory keeps them away.
        if (zName === 0) return capi.SQLITE_CANTOPEN;
        const name = wasm.cstrToJs(zName) as string;
        const isNew = !fs.existsSync(name);
        const fd = fs.openSync(name, (flags & capi.SQLITE_OPEN_CREATE) !== 0 && isNew ? 'w+' : 'r+', 0o600);
        if (isNew) syncFolder(name);
        files.set(file, { fd, path: name, deleteOnClose: (flags & capi.SQLITE_OPEN_DELETEONCLOSE) !== 0 });
        const opened = new capi.sqlite3_file(file);
        membersOf(opened).$pMethods = io.pointer;
        opened.dispose();
        if (outFlags !== 0) wasm.poke32(outFlags, flags);
        return capi.SQLITE_OK;
      }),
    xDelete: (_vfs: number, zName: number, syncDir: number) =>
      guarded(capi.SQLITE_IOERR_DELETE, () => {
        const name = wasm.cstrToJs(zName) as string;
        onChange('delete', name);
        fs.rmSync(name, { force: true });
        if (syncDir !== 0) syncFolder(name);
        return capi.SQLITE_OK;
      }),
    xAccess: (_vfs: number, zName: number, _flags: number, out: number) => {
      wasm.poke32(out, fs.existsSync(wasm.cstrToJs(zName) as string) ? 1 : 0);
      return capi.SQLITE_OK;
    },
    xFullPathname: (_vfs: number, zName: number, bytesMax: number, out: number) => {
      const full = new TextEncoder().encode(`${path.resolve(wasm.cstrToJs(zName) as string)}\0`);
      if (full.length > bytesMax) return capi.SQLITE_CANTOPEN;
      module.bytes().set(full, out);
      return capi.SQLITE_OK;
    },
    xGetLastError: () => 0,
  };
  // The methods' types are those of C functions with 32-bit arguments; at run time 64-bit ones are bigints, as here.
  vfs.installVfs({
    io: { struct: io, methods: ioMethods as never },
    vfs: { struct, methods: vfsMethods as never, name },
  });
}

/** Struct members as the package documents them; its types leave the `$` out of some names. */
interface StructMembers {
  $iVersion: number;
  $pMethods: unknown;
  $xRandomness: unknown;
  $xSleep: unknown;
  $xCurrentTime: unknown;
  readonly structInfo: { readonly sizeof: number };
}
function membersOf(struct: unknown): StructMembers {
  return struct as StructMembers;
}

function readFully(
  fd: number,
  bytes: Uint8Array,
  { to, count, offset }: { to: number; count: number; offset: number },
): number {
  let done = 0;
  while (done < count) {
    const read = fs.readSync(fd, bytes, to + done, count - done, offset + done);
    if (read === 0) break;
    done += read;
  }
  return done;
}
function isFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
/** A new or deleted name is durable only once its folder is synced; Windows has no such call. */
function syncFolder(file: string): void {
  if (process.platform === 'win32') return;
  const fd = fs.openSync(path.dirname(file), 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}
