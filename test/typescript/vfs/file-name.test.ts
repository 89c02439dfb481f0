// Names of files: what is ours, with which number, and what is foreign.

import { expect, test } from 'vitest'
import { fileName, parseFileName } from '../../../lib/typescript/vfs/file-name.ts'
import { readFormatDocument } from '../../format/format-document.ts'

test('numbered names come back', () => {
  for (const kind of ['manifest', 'journal', 'table', 'blob'] as const) {
    for (const number of [1, 42, 999_999, 1_000_000, 2 ** 53 - 1]) {
      expect(parseFileName(fileName(kind, number))).toEqual({ kind, number })
    }
  }
  expect(fileName('table', 42)).toBe('000042.table')
  expect(fileName('journal', 1_234_567)).toBe('1234567.journal')
})

test('the kinds are those of the document', () => {
  const kinds = readFormatDocument().enums.get('file-kind') ?? []
  for (const { name } of kinds.slice(0, 4)) {
    expect(parseFileName(`000007.${name}`)).toEqual({ kind: name, number: 7 })
  }
  expect(kinds.slice(4).map(({ name }) => name)).toEqual(['lock', 'foreign'])
})

test('the lock and what stands beside it', () => {
  const token = '00112233445566ff'
  for (const name of ['lock', `lock.${token}`, `lock.${token}.claim`, `lock.${token}.new`]) {
    expect(parseFileName(name)).toEqual({ kind: 'lock', number: 0 })
  }
})

test('everything else is foreign', () => {
  const names = ['', '1.table', '00001.table', '0000001.table', '000000.table', '000001.tables']
  names.push('000001.TABLE', ' 000001.table', '000001.table ', '-00001.table', '00001a.table')
  names.push('9007199254740992.table', '99999999999999999.table', 'lock.1', 'lock.', 'Lock')
  names.push('lock.00112233445566FF', 'lock.00112233445566ff.other', 'readme')
  for (const name of names)
    expect(parseFileName(name), name).toEqual({ kind: 'foreign', number: 0 })
})
