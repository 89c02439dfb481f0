// Reads what a 64-bit little-endian ELF file asks of the system it is loaded on.

/** What a shared object needs and what it gives. */
export interface ElfDescription {
  /** Names of the libraries it is linked to. */
  readonly libraries: readonly string[]
  /** Symbol versions it needs, such as `GLIBC_2.34`. */
  readonly versions: readonly string[]
  /** Symbols that other objects of the process can see. */
  readonly exports: readonly string[]
}

const DYNAMIC = 6
const DYNAMIC_SYMBOLS = 11
const VERSIONS_NEEDED = 0x6ffffffe

interface Section {
  readonly type: number
  readonly offset: number
  readonly size: number
  readonly link: number
  readonly count: number
}

function readSections(file: Buffer): Section[] {
  const start = Number(file.readBigUInt64LE(0x28))
  const entrySize = file.readUInt16LE(0x3a)
  const count = file.readUInt16LE(0x3c)
  return Array.from({ length: count }, (_, index) => {
    const header = file.subarray(start + index * entrySize)
    return {
      type: header.readUInt32LE(4),
      offset: Number(header.readBigUInt64LE(24)),
      size: Number(header.readBigUInt64LE(32)),
      link: header.readUInt32LE(40),
      count: header.readUInt32LE(44),
    }
  })
}

export function describeElf(file: Buffer): ElfDescription {
  if (file.readUInt32BE(0) !== 0x7f454c46 || file.readUInt16BE(4) !== 0x0201) {
    throw new Error('not a 64-bit little-endian ELF file')
  }
  const sections = readSections(file)
  const find = (type: number): [Section, (offset: number) => string] => {
    const section = sections.find((candidate) => candidate.type === type)
    const strings = section && sections[section.link]
    if (!strings) throw new Error(`the ELF file has no section of type ${type}`)
    const text = (offset: number): string => {
      const from = strings.offset + offset
      return file.toString('latin1', from, file.indexOf(0, from))
    }
    return [section, text]
  }

  const libraries: string[] = []
  const [dynamic, dynamicText] = find(DYNAMIC)
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    const isNeeded = file.readBigInt64LE(at) === 1n
    if (isNeeded) libraries.push(dynamicText(Number(file.readBigUInt64LE(at + 8))))
  }

  const versions: string[] = []
  const [needed, neededText] = find(VERSIONS_NEEDED)
  for (let at = needed.offset, left = needed.count; left > 0; left--) {
    let aux = at + file.readUInt32LE(at + 8)
    for (let names = file.readUInt16LE(at + 2); names > 0; names--) {
      versions.push(neededText(file.readUInt32LE(aux + 8)))
      aux += file.readUInt32LE(aux + 12)
    }
    at += file.readUInt32LE(at + 12)
  }

  const exports: string[] = []
  const [symbols, symbolText] = find(DYNAMIC_SYMBOLS)
  for (let at = symbols.offset + 24; at < symbols.offset + symbols.size; at += 24) {
    const isDefined = file.readUInt16LE(at + 6) !== 0
    if (isDefined) exports.push(symbolText(file.readUInt32LE(at)))
  }
  return { libraries, versions, exports }
}
