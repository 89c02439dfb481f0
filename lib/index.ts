// The public surface: re-exports only.

export { loadAddon } from './native/binding.ts'
