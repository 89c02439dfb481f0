import sortedBtree from 'sorted-btree'
import { keyText } from '../data.mjs'

/**
 * In memory, in JavaScript: what a program keeps when it keeps no store. Values are copied, as a
 * store does.
 */
export function sortedBTree() {
  const BTree = sortedBtree.default ?? sortedBtree
  const tree = new BTree()
  const scan = (range, visit) => {
    let count = 0
    for (const [k, v] of range) {
      visit(k, v)
      count++
    }
    return count
  }
  return {
    insertSync: (i, value) => tree.set(keyText(i), Buffer.from(value)),
    removeSync: (i) => tree.delete(keyText(i)),
    getSync: (i) => tree.get(keyText(i)),
    containsSync: (i) => tree.has(keyText(i)),
    scan: (visit) => scan(tree.entries(), visit),
    prefix: (text, visit) => {
      let count = 0
      tree.forRange(text, `${text}\u007f`, false, (k, v) => {
        visit(k, v)
        count++
      })
      return count
    },
    settle: () => {},
    close: () => {},
  }
}
