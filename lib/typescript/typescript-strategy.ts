/** Strategies of the application, as the rooms ask them. */

import type { StrategySetting } from '../engine.ts'
import type { Strategy } from './db/strategies.ts'
import { versionData } from './typescript-views.ts'

/** Undefined: none is given with these options. */
export function givenStrategy(setting: StrategySetting | undefined): Strategy | undefined {
  const source = setting?.type === 'user' ? setting.source : undefined
  if (source === undefined) return undefined
  return {
    name: source.name,
    choose: ({ superVersion }, context) =>
      source.choose(versionData(superVersion.version), context),
  }
}
