/**
 * Questions of the core to the application. One comes on the channel of all answers, or while a
 * synchronous call waits for a compaction; the core then asks from inside of that call. Both ways
 * they are taken one by one until there is none.
 */

import { door, META, NUMBERS } from './addon.ts'
import { fail, sourceOf } from './asked.ts'
import { answerFilter } from './filters.ts'
import { META_COUNT, META_FLAGS, META_LENGTH, META_NUMBER } from './protocol.ts'
import { answerStrategy } from './strategies.ts'

/** Takes all that there are. Never throws. */
export function answerQuestions(): void {
  for (;;) {
    const asked = door.takeQuestion()
    if (asked === undefined) return
    const question = NUMBERS[META_NUMBER / 2] as number
    const source = sourceOf(META[META_COUNT] as number)
    if (source === undefined) fail(question, 'the filter or strategy was collected')
    else if ('judge' in source) {
      const { [META_LENGTH]: count, [META_FLAGS]: flags } = META
      answerFilter(source, question, asked as Buffer, count as number, flags as number)
    } else {
      answerStrategy(source, question, asked as Exclude<typeof asked, Buffer>)
    }
  }
}
