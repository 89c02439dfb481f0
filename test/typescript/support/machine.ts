// A machine in memory with one directory, and its files as bytes.

import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'

/** An empty machine with a durable directory /db. */
export function newMachine(): MemVfs {
  const vfs = new MemVfs()
  vfs.makeDir('/db').sync()
  vfs.syncDir('/').sync()
  return vfs
}

/** Writes a whole file, durably, in the place of what had that name. */
export function putFile(vfs: Vfs, path: string, bytes: Uint8Array): void {
  try {
    vfs.remove(path).sync()
  } catch {
    // There was none.
  }
  const file = vfs.open(path, 'create').sync()
  file.write(0, [bytes]).sync()
  file.sync().sync()
  file.close()
  vfs.syncDir(path.slice(0, path.lastIndexOf('/')) || '/').sync()
}

export function readFile(vfs: Vfs, path: string): Buffer {
  const file = vfs.open(path, 'read').sync()
  const bytes = Buffer.alloc(file.size().sync())
  file.read(0, bytes).sync()
  file.close()
  return bytes
}
