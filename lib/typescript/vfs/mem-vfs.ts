/**
 * A whole machine in memory, strict about what a crash may lose.
 *
 * Reads see every write at once, as the page cache of a real system shows them; beside that, each
 * file and directory keeps what of it is durable, in strict reading: a file's data by its own sync,
 * an entry by the syncDir of its directory, and nothing else. `crash` builds what the disk may hold
 * after a crash at this moment. Clock and randomness are simulated: the same calls give the same
 * results.
 */

import { constants } from 'node:os'
import { ShaleError } from '../../errors.ts'
import { Io } from '../base/flow.ts'
import { systemError } from '../base/status.ts'
import { closedError } from './vfs.ts'
import type { File, FileInfo, OpenMode, Vfs } from './vfs.ts'

/** A failed call as Node.js throws it. */
export function errnoError(code: keyof typeof constants.errno): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code, errno: -constants.errno[code] })
}

function fail(code: keyof typeof constants.errno, syscall: string, path: string): never {
  throw systemError(errnoError(code), syscall, path)
}

/** One change that a crash may lose. */
export interface PendingChange {
  readonly kind: 'write' | 'resize' | 'directory'
  readonly path: string
  readonly offset: number
  /** Bytes of a write, the new size of a resize. */
  readonly length: number
}

/**
 * What a crash keeps of a change: of a write so many bytes from its beginning; of another, all or,
 * for 0, nothing.
 */
export type CrashPolicy = (change: PendingChange, index: number) => number

export const keepNothing: CrashPolicy = () => 0
export const keepEverything: CrashPolicy = () => Infinity
/** What came first, of all files and directories together. */
export function keepFirst(count: number): CrashPolicy {
  return (_, index) => (index < count ? Infinity : 0)
}
/** Everything before a write, and the first bytes of that. */
export function keepTorn(torn: number, bytes: number): CrashPolicy {
  return (_, index) => (index < torn ? Infinity : index === torn ? bytes : 0)
}
/** Each change by itself; `draw` gives numbers from 0 up to 1. */
export function keepRandom(draw: () => number): CrashPolicy {
  return ({ length }) => {
    const lot = draw()
    return lot < 0.4 ? Infinity : lot < 0.8 ? 0 : Math.floor(draw() * length)
  }
}

/** Bytes that grow. */
class Content {
  bytes: Uint8Array = new Uint8Array(0)
  size = 0

  copy(): Content {
    const made = new Content()
    made.bytes = this.bytes.slice(0, this.size)
    made.size = this.size
    return made
  }

  resize(size: number): void {
    if (size > this.bytes.length) {
      const grown = new Uint8Array(Math.max(size, 2 * this.bytes.length, 64))
      grown.set(this.bytes.subarray(0, this.size))
      this.bytes = grown
    }
    if (size < this.size) this.bytes.fill(0, size, this.size)
    this.size = size
  }

  write(offset: number, data: Uint8Array): void {
    if (offset + data.length > this.size) this.resize(offset + data.length)
    this.bytes.set(data, offset)
  }
}

let nodes = 0

class FileNode {
  readonly identity: string = `file ${++nodes}`
  current: Content = new Content()
  durable: Content = new Content()
  pending: FileChange[] = []
}

class DirectoryNode {
  readonly identity: string = `directory ${++nodes}`
  readonly current: Map<string, Node> = new Map()
  durable: Map<string, Node> = new Map()
  pending: DirectoryChange[] = []
}

type Node = FileNode | DirectoryNode

interface FileChange extends PendingChange {
  readonly node: FileNode
  /** Undefined: a resize. */
  readonly data: Uint8Array | undefined
}

interface DirectoryChange extends PendingChange {
  readonly node: DirectoryNode
  /** Entries that the change sets or, without a node, takes away. */
  readonly entries: readonly (readonly [string, Node | undefined])[]
}

function applyToFile(content: Content, change: FileChange, keep: number): void {
  if (change.data === undefined) {
    if (keep > 0) content.resize(change.length)
  } else if (keep > 0) {
    content.write(change.offset, change.data.subarray(0, Math.min(keep, change.length)))
  }
}

function applyToDirectory(entries: Map<string, Node>, change: DirectoryChange): void {
  for (const [name, node] of change.entries) {
    if (node === undefined) entries.delete(name)
    else entries.set(name, node)
  }
}

class MemFile implements File {
  readonly path: string
  readonly #machine: MemVfs
  readonly #node: FileNode
  readonly #writable: boolean
  #closed = false

  constructor(machine: MemVfs, path: string, node: FileNode, writable: boolean) {
    this.#machine = machine
    this.path = path
    this.#node = node
    this.#writable = writable
    machine.openFiles++
  }

  read(offset: number, target: Uint8Array): Io<number> {
    return this.#call('read', () => {
      const { bytes, size } = this.#node.current
      const got = Math.max(0, Math.min(target.length, size - offset))
      target.set(bytes.subarray(offset, offset + got))
      return got
    })
  }

  write(offset: number, pieces: readonly Uint8Array[]): Io<void> {
    return this.#change('write', () => {
      const data = Buffer.concat(pieces)
      this.#node.current.write(offset, data)
      return { offset, length: data.length, data }
    })
  }

  truncate(size: number): Io<void> {
    return this.#change('resize', () => {
      this.#node.current.resize(size)
      return { offset: 0, length: size, data: undefined }
    })
  }

  #change(
    kind: 'write' | 'resize',
    change: () => Pick<FileChange, 'offset' | 'length' | 'data'>,
  ): Io<void> {
    return this.#call(kind, () => {
      if (!this.#writable) fail('EBADF', kind, this.path)
      this.#machine.begin(kind, this.path)
      const node = this.#node
      const made = { kind, path: this.path, node, ...change() }
      node.pending.push(made)
      this.#machine.pending.add(made)
    })
  }

  sync(): Io<void> {
    return this.#call('sync', () => {
      this.#machine.begin('sync', this.path)
      const node = this.#node
      for (const change of node.pending) {
        applyToFile(node.durable, change, Infinity)
        this.#machine.pending.delete(change)
      }
      node.pending = []
    })
  }

  size(): Io<number> {
    return this.#call('size', () => this.#node.current.size)
  }

  #call<T>(syscall: string, call: () => T): Io<T> {
    return Io.now(() => {
      if (this.#closed) throw closedError(syscall, this.path)
      return call()
    })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#machine.openFiles--
  }
}

export type MemOperation =
  | 'create'
  | 'write'
  | 'resize'
  | 'sync'
  | 'syncDir'
  | 'makeDir'
  | 'removeDir'
  | 'remove'
  | 'rename'
  | 'link'

export class MemVfs implements Vfs {
  /** Called before each operation that changes files or what of them is durable; may throw. */
  onOperation: ((operation: MemOperation, path: string) => void) | undefined
  /** Processes that run, by id: when they started. This one is among them. */
  readonly processes: Map<number, bigint>
  readonly pending: Set<FileChange | DirectoryChange>
  processId = 1000
  boot = 'boot-1'
  /** Milliseconds; every look at a clock takes one, every sleep its time. */
  time = 1_700_000_000_000
  /** Files that this process has opened and not closed. */
  openFiles = 0
  readonly #root: DirectoryNode
  #random = 1

  /** Without `of`, an empty machine; else one more process of that. */
  constructor(root: DirectoryNode = new DirectoryNode(), of?: MemVfs) {
    this.#root = root
    this.processes = of?.processes ?? new Map([[this.processId, 77n]])
    this.pending = of?.pending ?? new Set()
  }

  /** The same machine as another of its processes sees it. */
  asProcess(pid: number, startTime: bigint): MemVfs {
    const other = new MemVfs(this.#root, this)
    other.processId = pid
    other.boot = this.boot
    other.#random = pid
    this.processes.set(pid, startTime)
    return other
  }

  /** What a crash right now could lose, in the order in which it was done. */
  pendingChanges(): readonly PendingChange[] {
    return [...this.pending]
  }

  /** The machine after a crash right now and a restart. This one is unaffected. */
  crash(policy: CrashPolicy): MemVfs {
    const kept = new Map([...this.pending].map((change, i) => [change, policy(change, i)]))
    const copies = new Map<Node, Node>()
    const copyOf = (node: Node): Node => {
      const known = copies.get(node)
      if (known !== undefined) return known
      return node instanceof FileNode ? copyFile(node) : copyDirectory(node)
    }
    const copyFile = (node: FileNode): FileNode => {
      const copy = new FileNode()
      copies.set(node, copy)
      copy.durable = node.durable.copy()
      for (const change of node.pending) {
        applyToFile(copy.durable, change, kept.get(change) ?? 0)
      }
      copy.current = copy.durable.copy()
      return copy
    }
    const copyDirectory = (node: DirectoryNode): DirectoryNode => {
      const copy = new DirectoryNode()
      copies.set(node, copy)
      const entries = new Map(node.durable)
      for (const change of node.pending) {
        if ((kept.get(change) ?? 0) > 0) applyToDirectory(entries, change)
      }
      for (const [name, child] of entries) copy.current.set(name, copyOf(child))
      copy.durable = new Map(copy.current)
      return copy
    }
    const clone = new MemVfs(copyDirectory(this.#root))
    clone.boot = `${this.boot}'`
    clone.time = this.time
    clone.#random = this.#random
    return clone
  }

  /**
   * The machine after this process was killed right now: what is not durable can be read, and the
   * next crash may lose it. This one is unaffected.
   */
  killed(): MemVfs {
    const copies = new Map<Node, Node>()
    const changes = new Map<FileChange | DirectoryChange, FileChange | DirectoryChange>()
    const copyOf = (node: Node): Node => {
      const known = copies.get(node)
      if (known !== undefined) return known
      return node instanceof FileNode ? copyFile(node) : copyDirectory(node)
    }
    const copyFile = (node: FileNode): FileNode => {
      const copy = new FileNode()
      copies.set(node, copy)
      copy.durable = node.durable.copy()
      copy.current = node.current.copy()
      copy.pending = node.pending.map((change) => ({ ...change, node: copy }))
      for (const [i, change] of node.pending.entries()) changes.set(change, copy.pending[i]!)
      return copy
    }
    const copyEntries = (entries: ReadonlyMap<string, Node>): Map<string, Node> =>
      new Map([...entries].map(([name, node]) => [name, copyOf(node)]))
    const copyDirectory = (node: DirectoryNode): DirectoryNode => {
      const copy = new DirectoryNode()
      copies.set(node, copy)
      copy.durable = copyEntries(node.durable)
      for (const [name, child] of copyEntries(node.current)) copy.current.set(name, child)
      copy.pending = node.pending.map((change) => ({
        ...change,
        node: copy,
        entries: change.entries.map(([name, child]) => [name, child && copyOf(child)] as const),
      }))
      for (const [i, change] of node.pending.entries()) changes.set(change, copy.pending[i]!)
      return copy
    }
    const clone = new MemVfs(copyDirectory(this.#root))
    for (const change of this.pending) {
      const copy = changes.get(change)
      if (copy !== undefined) clone.pending.add(copy)
    }
    clone.processId = this.processId + 1
    clone.processes.clear()
    clone.processes.set(clone.processId, 77n)
    clone.boot = this.boot
    clone.time = this.time
    clone.#random = this.#random
    return clone
  }

  /** What a failed sync leaves: the changes can be read, but nothing makes them durable. */
  abandon(path: string): void {
    const node = this.#find(path)
    if (!(node instanceof FileNode)) return
    for (const change of node.pending) this.pending.delete(change)
    node.pending = []
  }

  /** What a failed sync may also leave: the changes are gone. */
  drop(path: string): void {
    this.abandon(path)
    const node = this.#find(path)
    if (node instanceof FileNode) node.current = node.durable.copy()
  }

  begin(operation: MemOperation, path: string): void {
    this.onOperation?.(operation, path)
  }

  // --- paths -------------------------------------------------------------------------------------

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root
    for (const name of path.split('/').filter(Boolean)) {
      node = node instanceof DirectoryNode ? node.current.get(name) : undefined
    }
    return node
  }

  #existing(syscall: string, path: string): Node {
    return this.#find(path) ?? fail('ENOENT', syscall, path)
  }

  #directory(syscall: string, path: string): DirectoryNode {
    const node = this.#existing(syscall, path)
    return node instanceof DirectoryNode ? node : fail('ENOTDIR', syscall, path)
  }

  #parent(syscall: string, path: string): [DirectoryNode, string] {
    const cut = path.lastIndexOf('/')
    return [this.#directory(syscall, path.slice(0, cut)), path.slice(cut + 1)]
  }

  #changeDirectory(node: DirectoryNode, path: string, entries: DirectoryChange['entries']): void {
    const change: DirectoryChange = { kind: 'directory', path, offset: 0, length: 0, node, entries }
    applyToDirectory(node.current, change)
    node.pending.push(change)
    this.pending.add(change)
  }

  // --- the interface -----------------------------------------------------------------------------

  open(path: string, mode: OpenMode): Io<File> {
    return Io.now(() => {
      let node = this.#find(path)
      if (mode === 'create') {
        if (node !== undefined) fail('EEXIST', 'open', path)
        const [parent, name] = this.#parent('open', path)
        this.begin('create', path)
        node = new FileNode()
        this.#changeDirectory(parent, path, [[name, node]])
      }
      if (node === undefined) fail('ENOENT', 'open', path)
      if (node instanceof DirectoryNode) {
        throw new ShaleError('NOT_A_DATABASE', 'not a regular file', { path })
      }
      return new MemFile(this, path, node, mode !== 'read')
    })
  }

  stat(path: string): Io<FileInfo> {
    return Io.now(() => {
      const node = this.#existing('lstat', path)
      return node instanceof FileNode
        ? { type: 'file', size: node.current.size, identity: node.identity }
        : { type: 'directory', size: 0, identity: node.identity }
    })
  }

  statTarget(path: string): Io<FileInfo> {
    return this.stat(path)
  }

  makeDir(path: string): Io<void> {
    return Io.now(() => {
      if (this.#find(path) !== undefined) fail('EEXIST', 'mkdir', path)
      const [parent, name] = this.#parent('mkdir', path)
      this.begin('makeDir', path)
      this.#changeDirectory(parent, path, [[name, new DirectoryNode()]])
    })
  }

  removeDir(path: string): Io<void> {
    return Io.now(() => {
      const node = this.#directory('rmdir', path)
      if (node.current.size > 0) fail('ENOTEMPTY', 'rmdir', path)
      const [parent, name] = this.#parent('rmdir', path)
      this.begin('removeDir', path)
      this.#changeDirectory(parent, path, [[name, undefined]])
    })
  }

  remove(path: string): Io<void> {
    return Io.now(() => {
      if (this.#existing('unlink', path) instanceof DirectoryNode) fail('EISDIR', 'unlink', path)
      const [parent, name] = this.#parent('unlink', path)
      this.begin('remove', path)
      this.#changeDirectory(parent, path, [[name, undefined]])
    })
  }

  /**
   * Within one directory, which is all that the engine does. Nothing happens if both names are
   * links to one file.
   */
  rename(from: string, to: string): Io<void> {
    return Io.now(() => {
      const node = this.#existing('rename', from)
      const [parent, name] = this.#parent('rename', from)
      const [target, newName] = this.#parent('rename', to)
      if (target !== parent) fail('EXDEV', 'rename', to)
      if (target.current.get(newName) === node) return
      this.begin('rename', to)
      this.#changeDirectory(parent, to, [
        [name, undefined],
        [newName, node],
      ])
    })
  }

  link(from: string, to: string): Io<void> {
    return Io.now(() => {
      const node = this.#existing('link', from)
      const [parent, name] = this.#parent('link', to)
      if (parent.current.has(name)) fail('EEXIST', 'link', to)
      this.begin('link', to)
      this.#changeDirectory(parent, to, [[name, node]])
    })
  }

  list(path: string): Io<string[]> {
    return Io.now(() => [...this.#directory('readdir', path).current.keys()])
  }

  syncDir(path: string): Io<void> {
    return Io.now(() => {
      const node = this.#directory('fsync', path)
      this.begin('syncDir', path)
      for (const change of node.pending) this.pending.delete(change)
      node.pending = []
      node.durable = new Map(node.current)
    })
  }

  freeBytes(path: string): Io<number> {
    return Io.now(() => (this.#existing('statfs', path), 2 ** 40))
  }

  processStartTime(pid: number): bigint | undefined {
    return this.processes.get(pid)
  }

  bootId(): string {
    return this.boot
  }

  monotonicMillis(): number {
    return ++this.time
  }

  wallMillis(): number {
    return ++this.time
  }

  random(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0
    return this.#random
  }

  sleep(milliseconds: number): Io<void> {
    return Io.now(() => void (this.time += milliseconds))
  }
}
