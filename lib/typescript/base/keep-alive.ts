/**
 * What keeps the process running: calls that somebody waits for, and not what the engine does by
 * itself. All that it waits for is unreferenced, so that an open database lets the process end;
 * while calls are pending, one handle of the event loop holds it.
 *
 * The same handle wakes the loop. With nothing but unreferenced immediates to run, it would sleep
 * until something else happens.
 */

import { MessageChannel } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'

let ports: { readonly held: MessagePort; readonly waking: MessagePort } | undefined

function openPorts(): { readonly held: MessagePort; readonly waking: MessagePort } {
  const { port1: held, port2: waking } = new MessageChannel()
  held.on('message', () => {})
  held.unref()
  return { held, waking }
}

let pending = 0

/**
 * The promise, which holds the process until it is settled. (To follow the given one and return it
 * would hide from Node.js that nobody handles its failure.)
 */
export async function keepAlive<T>(promise: Promise<T>): Promise<T> {
  ports ??= openPorts()
  if (pending++ === 0) ports.held.ref()
  try {
    return await promise
  } finally {
    if (--pending === 0) ports.held.unref()
  }
}

/** An event loop that sleeps turns once. */
export function wakeLoop(): void {
  ports ??= openPorts()
  ports.waking.postMessage(undefined)
}
